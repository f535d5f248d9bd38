"""Settings of the documentation site; ``make docs`` builds it."""

import os
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS / "extensions")]

import matplotlib  # noqa: E402

import sklearn_fewshot  # noqa: E402

matplotlib.use("agg")

project = "sklearn_fewshot"
author = "The sklearn_fewshot developers"
copyright = author
release = version = sklearn_fewshot.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "contents",
    "mathml",
    "names",
    "parameter_groups",
]
exclude_patterns = ["_build", "extensions", "auto_examples/*.ipynb", "auto_examples/*.py"]
templates_path = ["templates"]
default_role = None
smartquotes = False  # "auto" is code, also where a docstring does not say so
site_sections = [
    "quickstart",
    "guide/index",
    "auto_examples/index",
    "api/index",
    "benchmarks/index",
]

# --- Markdown -----------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3  # the anchors that GitHub makes too

# --- reference ----------------------------------------------------------------------------------

autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings say the types in words
numpydoc_show_class_members = False  # templates/class.rst lists them
nitpicky = True
nitpick_ignore_regex = [
    # Other projects: their inventories are not fetched, so that the build needs no network.
    (r"py:.*", r"(sklearn|torch|skorch|skops|numpy|scipy|joblib|pickle|matplotlib|PIL)\..*"),
    # Inherited from scikit-learn and without a page of their own.
    (r"py:.*", r"(set_output|set_params|get_params|set_fit_request|set_callbacks)"),
]

# --- gallery ------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"/_",
    "plot_gallery": os.environ.get("GALLERY", "1") != "0",
    "abort_on_example_error": True,
    "doc_module": ("sklearn_fewshot",),
    "backreferences_dir": "generated/backreferences",
    "within_subsection_order": "gallery_order.ReadingOrder",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

# --- pages --------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_fewshot {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "quickstart": []}
html_favicon = "static/logo.svg"
html_context = {
    "site_description": "Few-shot learning and meta-learning for scikit-learn: train once on the "
    "classes you have, recognise new classes from one to twenty examples each."
}
html_theme_options = {
    "logo": {
        "text": "sklearn_fewshot",
        "image_light": "static/logo.svg",
        "image_dark": "static/logo.svg",
        "alt_text": "sklearn_fewshot - home",
    },
    "header_links_before_dropdown": 5,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {  # in these patterns * matches no slash
        "index": [],
        "[!i]*": ["page-toc"],
        "guide/*": ["page-toc"],
        "api/*": ["page-toc"],
        "api/generated/*": ["page-toc"],
        "auto_examples/*": ["page-toc"],
        "benchmarks/*": [],
    },
    "show_prev_next": False,
    "show_nav_level": 1,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
