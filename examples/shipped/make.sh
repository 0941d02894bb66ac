#!/usr/bin/env bash
# The one command that makes a shipped model; what it does is told in make.py.
#
#     bash examples/shipped/make.sh --minutes 25 --output OUT [--preset NAME] [--wheels DIR]
#
# It may be killed at any time: the same command goes on. Without network, what this Python lacks is
# installed from the wheels in DIR into a virtual environment beside OUT that sees the system's
# packages. To collect them where there is a network (here for Python 3.12):
#
#     pip download -d DIR --only-binary :all: --python-version 3.12 pythia8mc==8.317.2 fastjet awkward
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
wheels='' output='' words=()
while (($#)); do
    case $1 in
        --) words+=("$@"); break ;;
        --wheels) wheels=${2:?make.sh: --wheels: expected a folder}; shift 2 ;;
        --output) output=${2:?make.sh: --output: expected a folder}; words+=("$1" "$2"); shift 2 ;;
        *) words+=("$1"); shift ;;
    esac
done
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

# What hitools needs, as pyproject.toml has it, and Pythia.
complete() {
    "$1" - "$root/pyproject.toml" <<'PYTHON'
import importlib.util, sys, tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
modules = {"scikit-learn": "sklearn"}
needed = [*project["dependencies"], *project["optional-dependencies"]["pythia"]]
names = {need.split(">")[0].split("<")[0] for need in needed}
missing = sorted(n for n in names if importlib.util.find_spec(modules.get(n, n)) is None)
if missing:
    print(" ".join(missing))
PYTHON
}

if [[ -n $(complete "$python") ]]; then
    venv=${output:-.}-venv
    if [[ ! -x $venv/bin/python ]]; then
        [[ -n $wheels ]] || { echo "make.sh: missing: $(complete "$python"); --wheels DIR?" >&2; exit 2; }
        "$python" -m venv --system-site-packages "$venv"
    fi
    python=$venv/bin/python
    missing=$(complete "$python")
    if [[ -n $missing ]]; then
        # shellcheck disable=SC2086  # several words
        "$python" -m pip install -q --no-index --find-links "$wheels" $missing
    fi
fi

# The commands, where hitools itself is not installed: a line of Python each.
bin=$(dirname "$(command -v "$python")")
if [[ ! -x $bin/hi-train ]]; then
    bin=${output:-.}-bin
    "$python" - "$root/pyproject.toml" "$bin" <<'PYTHON'
import sys, tomllib
from pathlib import Path

with open(sys.argv[1], "rb") as file:
    scripts = tomllib.load(file)["project"]["scripts"]
folder = Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for name, entry in scripts.items():
    module, function = entry.split(":")
    path = folder / name
    path.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n\n{function}()\n")
    path.chmod(0o755)
PYTHON
    bin=$(cd "$bin" && pwd)
    export PATH="$bin:$PATH"
fi
exec "$python" "$here/make.py" "${words[@]}"
