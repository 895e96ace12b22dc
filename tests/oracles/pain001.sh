#!/usr/bin/env bash
# Validates payment files against the XSD of pain.001.001.09 with libxml2: code that is not ours.
#
#   tests/oracles/pain001.sh [FILE...]        without a file it only prepares
#
# The schema comes with the Python package sepaxml, the validator with lxml; both are installed into a
# venv under target/. Exit 1: a file is not valid. Exit 3: python3 or the packages are missing and
# could not be installed; the reason is printed.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=target/oracles/pain001

is_ready() { "$venv/bin/python" -c 'import lxml.etree, sepaxml' 2>/dev/null; }
prepare() {
    command -v python3 >/dev/null || { echo 'python3 is missing' >&2; return 3; }
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
            echo 'the module venv of python3 is missing: install python3-venv' >&2
            return 3
        fi
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends python3-venv; } >/dev/null || return 3
    fi
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
            sepaxml==2.7.0 lxml==6.1.3 >&2 || { echo 'sepaxml and lxml could not be installed' >&2; return 3; }
}
is_ready || prepare || exit 3

[[ $# -eq 0 ]] || "$venv/bin/python" - "$@" <<'PYTHON'
import os, sys
import sepaxml
from lxml import etree

schema = os.path.join(os.path.dirname(sepaxml.__file__), "schemas", "pain.001.001.09.xsd")
schema = etree.XMLSchema(etree.parse(schema))
for path in sys.argv[1:]:
    if not schema.validate(etree.parse(path)):
        sys.exit(f"{path}: {schema.error_log}")
    print(f"{path}: valid")
PYTHON
