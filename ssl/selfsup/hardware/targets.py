"""The accelerators that a program can be compiled for without having them: one row each, with its public source.

Peaks are dense (no structured sparsity) and count a multiplication and an addition as two. Bandwidths are those of the
data sheets, which no program reaches, so that times computed from them are lower bounds.
"""

import math
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from ..errors import UserError, nearest

GB, TFLOPS = 10**9, 10**12


class Target(NamedTuple):
    """One kind of chip.

    Attributes:
      platform: 'cuda' or 'tpu'.
      kind: how jax names the device (`device_kind`), a regular expression.
      peaks: FLOP/s of the matrix units, by type of the operands: 'bf16', 'f32' at jax's default precision (TF32 on
        NVIDIA, one pass of bfloat16 on TPU) and 'highest', float32 with `precision=HIGHEST`.
      memory: bytes of the device.
      bandwidth: of its memory, bytes/s.
      links: bytes/s that one chip can send to its neighbours: NVLink, or all inter-chip links together.
      network: bytes/s that one chip can send to another node (GPUs), 0 where the links reach all chips.
      launch: seconds from one kernel to the next when the kernels do nothing; 0 where the program has no launches.
      config: XLA's GpuTargetConfigProto as text; '' for TPUs.
      shapes: topologies of a slice (TPUs).
    """

    platform: str
    kind: str
    peaks: Mapping[str, float]
    memory: int
    bandwidth: float
    links: float
    network: float = 0.0
    launch: float = 0.0
    config: str = ''
    shapes: tuple[str, ...] = ()


# A GPU's kernels follow one another at no less than some 2 microseconds, launched one by one or as a graph. This
# number is assumed, not measured here.
LAUNCH = 2e-6
NODE = 8  # GPUs that NVLink joins in an HGX or DGX machine
# Share of a GPU's memory that jax takes on its start (XLA_PYTHON_CLIENT_MEM_FRACTION); TPUs give all of it.
PREALLOCATED = 0.75


def _gpu(**fields: Any) -> str:
    """A GpuTargetConfigProto as text; the values are those of openxla/xla, xla/backends/gpu/target_config/specs."""
    common = {
        'threads_per_block_limit': 1024, 'threads_per_warp': 32, 'shared_memory_per_block': 49152,
        'threads_per_core_limit': 2048, 'block_dim_limit_x': 2147483647, 'block_dim_limit_y': 65535,
        'block_dim_limit_z': 65535, 'registers_per_core_limit': 65536, 'registers_per_block_limit': 65536,
    }  # fmt: skip
    name, major = fields.pop('name'), fields.pop('major')
    lines = ' '.join(f'{key}: {value}' for key, value in {**common, **fields}.items())
    return (
        f'gpu_device_info {{ {lines} cuda_compute_capability {{ major: {major} minor: 0 }} }} platform_name: "CUDA" '
        f'dnn_version_info {{ major: 9 minor: 8 patch: 0 }} device_description_str: "{name}"'
    )


def _hopper(**fields: Any) -> str:
    return _gpu(
        major=9, core_count=132, fpus_per_core=128, shared_memory_per_core=233472, shared_memory_per_block_optin=232448,
        l2_cache_size=52428800, clock_rate_ghz=1.98, **fields,
    )  # fmt: skip


_HOPPER = {'bf16': 989.4 * TFLOPS, 'f32': 494.7 * TFLOPS, 'highest': 66.9 * TFLOPS}
_TORUS_2D = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_TORUS_3D = ('2x2x1', '2x2x2', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16', '8x16x16', '16x16x16')


def _tpu_peaks(bfloat16: float) -> dict[str, float]:
    # HIGHEST is six passes of bfloat16 (jax.lax.Precision).
    return {'bf16': bfloat16, 'f32': bfloat16, 'highest': bfloat16 / 6}


TARGETS: dict[str, Target] = {
    # NVIDIA A100 data sheet (SXM, 80 GB): 312 TFLOPS bfloat16, 156 TF32, 19.5 float32; 2,039 GB/s; NVLink 600 GB/s,
    # half of it each way. DGX A100: one 200 Gb/s adapter a GPU.
    'a100': Target(
        'cuda', 'NVIDIA A100', {'bf16': 312 * TFLOPS, 'f32': 156 * TFLOPS, 'highest': 19.5 * TFLOPS}, 85100068864,
        2039 * GB, 300 * GB, 25 * GB, LAUNCH,
        _gpu(
            name='NVIDIA A100-SXM4-80GB', major=8, core_count=108, fpus_per_core=64, shared_memory_per_core=167936,
            shared_memory_per_block_optin=166912, l2_cache_size=41943040, clock_rate_ghz=1.41,
            memory_bandwidth=2039040000000, device_memory_size=85100068864,
        ),
    ),
    # NVIDIA H100 data sheet and architecture paper (SXM5): 989.4 TFLOPS bfloat16, 494.7 TF32, 66.9 float32; 3.35 TB/s;
    # NVLink 900 GB/s, half of it each way. DGX H100: one 400 Gb/s adapter a GPU.
    'h100': Target(
        'cuda', 'NVIDIA H100 80GB HBM3', _HOPPER, 84978434048, 3352 * GB, 450 * GB, 50 * GB, LAUNCH,
        _hopper(name='NVIDIA H100 80GB HBM3', memory_bandwidth=3352320000000, device_memory_size=84978434048),
    ),
    # NVIDIA H200 data sheet (SXM): the H100's units, 141 GB, 4.8 TB/s.
    'h200': Target(
        'cuda', 'NVIDIA H200', _HOPPER, 151397597184, 4800 * GB, 450 * GB, 50 * GB, LAUNCH,
        _hopper(name='NVIDIA H200 141GB HBM3e', memory_bandwidth=4800000000000, device_memory_size=151397597184),
    ),
    # https://cloud.google.com/tpu/docs/v5e: 197 TFLOPS, 16 GB, 819 GB/s; links 1,600 Gb/s a chip (400 GB/s both ways).
    'tpu-v5e': Target(
        'tpu', 'TPU v5 ?(lite|e)', _tpu_peaks(197 * TFLOPS), 16 * 2**30, 819 * GB, 200 * GB, shapes=_TORUS_2D,
    ),
    # https://cloud.google.com/tpu/docs/v5p: 459 TFLOPS, 95 GB, 2,765 GB/s; links 4,800 Gb/s (1,200 GB/s both ways).
    'tpu-v5p': Target(
        'tpu', 'TPU v5p?$', _tpu_peaks(459 * TFLOPS), 95 * 2**30, 2765 * GB, 600 * GB, shapes=_TORUS_3D,
    ),
    # https://cloud.google.com/tpu/docs/v6e: 918 TFLOPS, 32 GB, 1,640 GB/s; links 3,584 Gb/s (other tables of the page
    # give 3,200: the faster is taken).
    'tpu-v6e': Target(
        'tpu', 'TPU v6 ?(lite|e)', _tpu_peaks(918 * TFLOPS), 32 * 2**30, 1640 * GB, 448 * GB, shapes=_TORUS_2D,
    ),
}  # fmt: skip
PACKAGES = {'cuda': ('jax_cuda12_plugin', 'nvidia.cudnn'), 'tpu': ('libtpu',)}


class Place(NamedTuple):
    """So many chips of one kind.

    Attributes:
      text: what it was given as, 'h100:8'.
      name: a row of `TARGETS`.
      target: that row.
      shape: GPUs, '8', or the topology of a TPU slice, '4x4'.
      chips: how many.
    """

    text: str
    name: str
    target: Target
    shape: str
    chips: int

    def sending(self, devices: int) -> float:
        """Bytes/s that each of `devices` chips can send to the others in a collective."""
        return self.target.network if self.target.network and devices > NODE else self.target.links


def place(text: str) -> Place:
    """What `--on` names: `h100:8`, `tpu-v5e:4x4`.

    Raises:
      UserError: for an unknown target, or a number or topology that does not exist.
    """
    name, colon, shape = text.partition(':')
    if name not in TARGETS:
        raise UserError(f'--on={text}: {name!r} is an unknown target{nearest(name, TARGETS)}')
    target = TARGETS[name]
    if target.platform == 'tpu':
        if shape not in target.shapes:
            raise UserError(f'--on={text}: the topology {shape!r} of {name} does not exist; known are '
                            + ', '.join(target.shapes))  # fmt: skip
        return Place(text, name, target, shape, math.prod(map(int, shape.split('x'))))
    shape = shape if colon else '1'
    count = int(shape) if re.fullmatch(r'[1-9]\d{0,3}', shape) else 0
    if not count or (count > NODE and count % NODE):
        raise UserError(
            f'--on={text}: {name} comes in 1 to {NODE} GPUs, or in multiples of {NODE}, not {shape!r}; '
            f'such as {name}:{NODE}'
        )
    return Place(text, name, target, shape, count)


def check_packages(where: Place) -> None:
    """Refuses a place whose compiler is not installed."""
    missing = [name for name in PACKAGES[where.target.platform] if not _installed(name)]
    if missing:
        kind = 'GPUs' if where.target.platform == 'cuda' else 'TPUs'
        raise UserError(
            f"--on={where.text} needs XLA's compiler for {kind}, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed: pip install 'selfsup[plan]'"
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package above it
        return False


def devices(where: Place) -> list[Any]:
    """The devices of a place, to compile for; they run nothing.

    Raises:
      UserError: where the packages are missing, or do not know the place.
    """
    check_packages(where)
    os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # else libtpu asks the network for the machine that it is on
    from jax.experimental import topologies

    try:
        if where.target.platform == 'cuda':
            nodes = -(-where.chips // NODE)
            found = topologies.get_topology_desc(
                topology_name='',
                platform='cuda',
                target_config=where.target.config,
                topology=f'1x{nodes}x{where.chips // nodes}',
            )
        else:
            options = {'chips_per_host_bounds': (1, 1, 1)} if where.chips == 1 else {}
            name = f'{where.name.removeprefix("tpu-")}:{where.shape}'
            found = topologies.get_topology_desc(topology_name=name, platform='tpu', **options)
    except Exception as error:  # what the plugins raise is open-ended
        line = ' '.join(str(error).split())
        raise UserError(f'--on={where.text}: the installed compiler does not take it: {line}') from error
    return list(found.devices)


def chip(device_kind: str) -> Target | None:
    """The row of a device by jax's name for it, or None."""
    return next((target for target in TARGETS.values() if re.match(target.kind, device_kind)), None)
