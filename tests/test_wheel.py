"""The wheel: every model that ships is in it, and nothing that only its training needs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED = ("README.md", "config.json", "metrics.jsonl", "model.safetensors")


def test_models_are_in_the_wheel_without_their_training_state(tmp_path):
    for name in ("hitools", "man"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    toy = tmp_path / "hitools" / "models" / "toy"
    (toy / "state").mkdir(parents=True)
    for name in (*SHIPPED, ".config.json", "state/state.safetensors", "state/lock"):
        (toy / name).write_text("toy")
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    inside = [name for name in names if name.startswith("hitools/models/toy/")]
    assert sorted(inside) == sorted(f"hitools/models/toy/{name}" for name in SHIPPED)
    for model in (ROOT / "hitools" / "models").glob("*/config.json"):
        assert f"hitools/models/{model.parent.name}/model.safetensors" in names
    strangers = [n for n in names if not n.startswith(("hitools/", "hitools-"))]
    assert strangers == []
