#!/usr/bin/env bash
# Format, lint, types, tests: what `make test` and CI run. Ends with pytest's own summary.
#   tests/run.sh                  the quick suite
#   tests/run.sh PART             one part of the whole suite, slow tests included; `all` for every part in turn
set -eu
cd "$(dirname "$0")/.."
# Without compiled modules each of a hundred processes compiles jax and flax anew, 3 to 15 s; nothing is compiled on install.
unset PYTHONDONTWRITEBYTECODE

# Every test file stands in one part (tests/test_layers.py checks it).
declare -A PARTS=(
  [losses]='test_losses test_losses_each test_losses_golden test_losses_metric test_losses_patches test_losses_refusals test_losses_spectral test_losses_sentences test_losses_clusters test_icon test_mutual_information test_masked*'
  [augment]='test_augment test_augment_golden test_augment_pretext test_masking'
  [diagnostics]='test_diagnostics* test_dictionaries*'
  [methods]='test_methods test_method_contracts test_regularised test_instance test_clustering test_equivariant test_pretext test_pretext_places test_contrast_methods test_all4one test_beclr test_clusternet test_jigclu test_jule test_regions test_labelled_negatives test_lens test_dictionary_methods test_models* test_convolution test_batch_norm test_optim test_trajectories'
  [parallel]='test_methods_parallel test_parallel'
  [gradient]='test_gradient test_step test_sweep test_sweep_command'
  [engine]='test_branch test_hardware test_accelerator test_engine test_checkpoint test_saved test_commands test_command test_runs test_runs_browser test_loggers test_files test_leftovers test_config test_layers test_docs'
  [processes]='test_processes'
  [data]='test_data* test_subsets test_odd_inputs'
  [evaluation]='test_eval* test_inside test_gradient_features test_bench test_reduction test_select test_image* test_report*'
  [weights]='test_convert*'
  [experiments]='test_experiments test_extending'
  [tables]='test_ablations test_digits_tables test_findings test_peers test_reproduce test_speedrun test_tables'
  [collapse]='test_collapse'
  [fuzz]='test_fuzz'
)
ORDER='losses augment diagnostics methods parallel gradient engine processes data evaluation weights experiments tables collapse fuzz'

one_part() {
  local files=() pattern
  for pattern in ${PARTS[$1]}; do
    for file in tests/$pattern.py; do [ -e "$file" ] && files+=("$file"); done
  done
  echo "part $1: ${files[*]}"
  python -m pytest -n 2 --dist worksteal -m 'slow or not slow' "${files[@]}"
}

if [ $# -gt 0 ] && [ "$1" = all ]; then
  for part in $ORDER; do one_part "$part"; done
elif [ $# -gt 0 ]; then
  [ -n "${PARTS[$1]:-}" ] || { echo "unknown part $1; known are $ORDER, and all" >&2; exit 2; }
  one_part "$1"
else
  ruff format --check .
  ruff check .
  pyrefly check
  exec python -m pytest -n 2 --dist worksteal
fi
