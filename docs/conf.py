"""The documentation site: `python -m sphinx -W docs docs/_build`."""

import re

import keras_trainsteps

project = "keras_trainsteps"
author = "the developers of keras_trainsteps"
version = release = keras_trainsteps.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "keras_trainsteps"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"start": [], "ideas": [], "numbers": [], "benchmarks": [], "which_loss": []}
copybutton_prompt_text = ">>> |$ "

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "attrs_inline"]

default_role = "code"
autodoc_typehints = "none"  # docstrings say shapes and dtypes, which types cannot
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Reference", "references_style"), "Formula"]
napoleon_use_rtype = False


def as_rst(app, what, name, obj, options, lines):
    """Docstrings fence formulas as Markdown does; Sphinx wants an indented block."""
    out, fence = [], None
    for line in lines:
        opened = re.match(r"( *)```\w*$", line)
        if opened and fence is None:
            fence = opened[1]
            out += [f"{fence}.. code-block:: text", ""]
        elif opened:
            fence = None
            out.append("")
        else:
            out.append(line if fence is None else "   " + line if line.strip() else "")
    lines[:] = out


def setup(app):
    """Runs before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", as_rst, priority=100)
