#!/usr/bin/env bash
# Builds paper/build/paper.pdf from paper.tex and the generated parts. Needs latexmk and LaTeX (README names the packages).
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v latexmk >/dev/null; then
    echo "error: latexmk is not installed; on Debian: apt-get install latexmk texlive-latex-recommended texlive-fonts-recommended texlive-latex-extra" >&2
    exit 1
fi
if [ ! -f generated/numbers.tex ]; then
    echo "error: paper/generated is missing; run: cargo djinn reproduce" >&2
    exit 1
fi
mkdir -p build
latexmk -pdf -interaction=nonstopmode -halt-on-error -outdir=build paper.tex >build/latexmk.log 2>&1 || {
    grep -A5 '^!' build/latexmk.log >&2 || tail -30 build/latexmk.log >&2
    exit 1
}
if grep -q 'undefined' build/paper.log; then
    grep 'undefined' build/paper.log >&2
    exit 1
fi
echo "paper/build/paper.pdf"
