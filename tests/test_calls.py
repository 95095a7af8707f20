import subprocess
import sys

import pytest


@pytest.mark.slow
def test_each_command_stays_a_call_whatever_is_imported() -> None:
    code = (
        "import importlib, pkgutil, commoncanvas\n"
        "for module in pkgutil.iter_modules(commoncanvas.__path__):\n"
        "    if module.name != '__main__':\n"
        "        importlib.import_module('commoncanvas.' + module.name)\n"
        "for name in ('caption', 'demo', 'encode', 'evaluate', 'generate', 'load_recipe', 'measure_memorisation',\n"
        "             'plan', 'sources', 'train'):\n"
        "    assert type(getattr(commoncanvas, name)).__name__ == 'function', name\n"
        "import commoncanvas.catalog\n"
        "for module in pkgutil.iter_modules(commoncanvas.catalog.__path__):\n"
        "    importlib.import_module('commoncanvas.catalog.' + module.name)\n"
        "for name in ('credits', 'export', 'fetch', 'import_', 'stats', 'takedown'):\n"
        "    assert type(getattr(commoncanvas.catalog, name)).__name__ == 'function', name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
