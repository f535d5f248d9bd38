"""Order of the examples: the quick start, then those with pictures, then programs without."""

from sphinx_gallery.sorting import FileNameSortKey


class QuickStartFirst(FileNameSortKey):
    def __call__(self, filename):
        name = str(filename)
        return (name != "plot_quickstart.py", not name.startswith("plot_"), name)
