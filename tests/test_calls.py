import subprocess
import sys


def test_each_command_stays_a_call_however_often_it_is_named() -> None:
    code = (
        "import commoncanvas\n"
        "for _ in range(2):\n"
        "    for name in ('caption', 'demo', 'encode', 'evaluate', 'generate', 'load_recipe', 'train'):\n"
        "        assert type(getattr(commoncanvas, name)).__name__ == 'function', name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
