#!/usr/bin/env bash
# Environments of the competitors, in the folder given: FOLDER/mbi, FOLDER/dpmm. Nothing of them enters the package.
#
#   install.sh FOLDER        then: export SILOSYNTH_COMPETITORS=FOLDER
#
# MBI_REPOSITORY: where to take AIM and MST from, if not from their home; a git directory will do.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?the folder to make the environments in}
repository=${MBI_REPOSITORY:-https://github.com/ryan112358/mbi}
commit=361705d7f05f8c0ac4d5b3640e688eb4f692346e
python=${PYTHON:-python3}

for name in mbi dpmm; do
    "$python" -m venv "$folder/$name"
    "$folder/$name/bin/pip" install --quiet --requirement "$here/$name.txt"
done

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git clone --quiet --no-checkout "$repository" "$source/mbi"
git -C "$source/mbi" checkout --quiet "$commit" -- mechanisms src LICENSE
rm -rf "$folder/mbi/mechanisms"
cp -r "$source/mbi/mechanisms" "$folder/mbi/mechanisms"
cp -r "$source/mbi/src/mbi" "$source/mbi/LICENSE" "$folder/mbi/mechanisms/"
