#!/usr/bin/env bash
# Runs the tests of ./test.sh --quick at both ends of every version range of requirements.txt:
# with the lowest versions, then with the newest. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/venv.sh

mkdir -p .test
lowest=.test/lowest.txt
sed -En 's/^([A-Za-z0-9_-]+(\[[a-z,]+\])?)>=([0-9.]+).*/\1==\3/p' requirements.txt >"$lowest"
if (($(grep -c '^[^#]' requirements.txt) != $(wc -l <"$lowest"))); then
  echo "requirements.txt has a line that is not NAME>=VERSION,…" >&2
  exit 2
fi
rm -f .test/newest/stamp # what is newest changes
prepare_venv "$PWD/.test/lowest" requirements.txt requirements-quick.txt "$lowest"
prepare_venv "$PWD/.test/newest" requirements.txt requirements-quick.txt

for end in lowest newest; do
  python=.test/$end/bin/python
  echo "== $end: $("$python" -m pip list --format=freeze --disable-pip-version-check |
    grep -iE "^($(sed 's/[=[].*//' "$lowest" | paste -sd '|'))==" | paste -sd ' ')"
  "$python" -m pytest -n 4 --quick tests/unit "$@"
done
