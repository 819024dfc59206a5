"""The site of the documentation: `make docs` writes it to docs/_site."""

from importlib.metadata import version as installed

project = 'selfsup'
version = release = installed('selfsup')
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_site']
nb_execution_mode = 'off'  # the tests execute the notebooks
myst_heading_anchors = 3  # links such as benchmarks.md#memory-of-a-report
html_theme = 'furo'
html_title = 'selfsup'
autodoc_typehints = 'none'  # shapes stand in the docstrings
napoleon_use_ivar = True  # attributes of tuples are documented once
# Tables in docstrings are plain text there; what matters is that every link between pages leads somewhere.
suppress_warnings = ['docutils', 'app.add_directive']
