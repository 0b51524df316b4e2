# make demo    segment the example images
# make test    run the tests
# make lint    check style, types and prose
# make docs    build the documentation as a site, build/site/index.html
# make oldest  run the tests of reading and segmenting on the oldest dependencies allowed
# make race    run the kernels, the CUDA ones compiled for the CPU, under the race detector
# make address the same under the address and undefined-behaviour sanitizers
# make fuzz    read changed files of every format, and call the native functions wrongly
# make plain   the same without any of these
# make arm     the CPU's kernels compiled for 64-bit Arm, under qemu-user; needs a cross-compiler
# make library  build the C++ library and install it in build/library/installed
# make wheels  build wheels with zig for every Python from 3.10 to 3.14 that is here, x86-64 and Arm
# make bioimageio  package the models for bioimage.io in build/bioimageio, and validate that
# make spills  say what each CUDA kernel needs on each GPU; needs nvcc
# make format  put the sources into that style
# make clean   remove what was made here
#
# PYTHON=/path/to/python3 and CXX=/path/to/compiler choose those; see tools/check.sh.
# workers=N says how many processes test uses.
# files=N says how many files of each format fuzz reads, seed=N which ones.
# pythons="3.11 3.13" says which Pythons wheels are for, headers=DIR where headers of others are.
# rounds=N says how long race, address, plain and arm go on.

.PHONY: demo test lint docs oldest fuzz race address plain arm library wheels bioimageio spills format clean

venv := .venv
bin := $(venv)/bin
pip := $(bin)/python -m pip --quiet --disable-pip-version-check
build_inputs := pyproject.toml setup.py CMakeLists.txt $(shell find csrc include cmake tests/cpp -type f)
cxx_sources := $(shell find csrc include examples tests/cpp -name '*.h' -o -name '*.cpp' -o -name '*.cu')

demo: $(venv)/.package
	@$(bin)/nucleiseg segment tests/data/images --output out --save mask,labels,overlay
	@echo "The images are in tests/data/images; look at out/*_overlay.png."

# Tests of one file run in one process, as they share what they build.
workers := 2
test: $(venv)/.development
	@$(bin)/python -m pytest --numprocesses $(workers) --dist loadfile

prose := $(wildcard *.md docs/*.md training/README.md benchmarks/README.md) \
  $(shell find nucleiseg training -name '*.py')
empty :=
# Rules of Harper that misread tables, code or the words of this field; codespell checks the spelling.
unfit := $(subst $(empty) ,$(empty),AnA,BuiltIn,Bypass,CapitalizePersonalPronouns,CommaFixes,CompoundNouns,CondenseAllThe,\
  Dashes,DiscourseMarkers,DisjointPrefixes,EllipsisLength,Everyone,ExpandControl,\
  ExpandDirectory,ExpandMemoryShorthands,ExpandMinimum,ExpandStandardInputAndOutput,\
  ExpandTimeShorthands,FillerWords,HelloGreeting,ItsContraction,LongSentences,MassNouns,\
  MergeWords,MissingPreposition,MissingTo,NumericRangeEnDash,OrthographicConsistency,\
  Overall,OxfordComma,PhrasalVerbAsCompoundNoun,PronounInflectionBe,PronounKnew,\
  PronounVerbAgreement,QuantifierNumeralConflict,QuiteQuiet,RepeatedWords,SentenceCapitalization,Spaces,\
  SpellCheck,SplitWords,ThatThan,TheirToTheyre,ThereIsAgreement,ThereToTheir,TheyToThem,\
  ToTwoToo,UnclosedQuotes,UseEllipsisCharacter,UseTitleCase,WrongNegative,\
  YourPredicateAdjective)
lint: $(venv)/.development
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy
	@$(bin)/clang-format --dry-run --Werror $(cxx_sources)
	@$(bin)/codespell $(prose)
	@$(bin)/harper --no-color lint --quiet --format compact --dialect gb --ignore $(unfit) $(prose)

docs: $(venv)/.development
	@NO_MKDOCS_2_WARNING=1 $(bin)/python -m mkdocs build --strict --quiet
	@echo "The site is build/site/index.html."

files := 20000
fuzz: $(venv)/.development
	@$(bin)/python tests/fuzz/run.py --files $(files) $(if $(seed),--seed $(seed))

oldest_tests := images pictures bmp tiff tiff_limits segmenter bombs outputs
oldest: $(venv)/.development
	@$(bin)/python -m venv build/oldest
	@build/oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	  $$($(bin)/python tools/oldest.py) pytest opencv-python-headless scikit-image roifile pyarrow
	@PYTHONPATH=. build/oldest/bin/python -m pytest -q -p no:cacheprovider \
	  $(oldest_tests:%=tests/cpu/test_%.py)

rounds := 20
race: kind := thread
address: kind := address
plain arm: kind := plain
race address plain: programs := selftest cpu_selftest
arm: programs := cpu_selftest
arm: platform := -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake
arm: run := qemu-aarch64
race address plain arm:
	@cmake -S . -B build/selftest-$@ -DNUCLEISEG_CUDA=off -DNUCLEISEG_WERROR=ON \
	  -DNUCLEISEG_SELFTEST=$(kind) $(platform)
	@env -u MAKEFLAGS -u MAKELEVEL cmake --build build/selftest-$@ --target $(programs)
	@for program in $(programs); do $(run) build/selftest-$@/$$program $(rounds) || exit 1; done

library:
	@cmake -S . -B build/library -DNUCLEISEG_PYTHON=OFF -DNUCLEISEG_CUDA=off -DNUCLEISEG_WERROR=ON
	@env -u MAKEFLAGS -u MAKELEVEL cmake --build build/library
	@cmake --install build/library --prefix build/library/installed

wheels: build/wheels/env/.tools
	@build/wheels/env/bin/python tools/wheels.py $(if $(pythons),--pythons $(pythons)) \
	  $(if $(headers),--headers $(headers)) $(if $(wheels),--output $(wheels))

build/wheels/env/.tools: tools/wheels.txt | $(bin)/python
	@$(bin)/python -m venv build/wheels/env
	@build/wheels/env/bin/python -m pip --quiet --disable-pip-version-check install -r $<
	@touch $@

bioimageio: $(venv)/.development
	@$(bin)/python tools/model_zoo.py

spills:
	@python3 tools/cuda_report.py

format: $(venv)/.development
	@$(bin)/ruff check --fix-only --quiet .
	@$(bin)/ruff format .
	@$(bin)/clang-format -i $(cxx_sources)

clean:
	@rm -rf $(venv) build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache
	@rm -f nucleiseg/_native*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(bin)/python:
	@python=$$(PYTHON="$(PYTHON)" CXX="$(if $(filter-out default,$(origin CXX)),$(CXX))" tools/check.sh) \
	  && "$$python" -m venv $(venv)

$(venv)/.package: $(build_inputs) | $(bin)/python
	@echo "Building nucleiseg and installing it into $(venv)."
	@$(pip) install --editable .
	@touch $@

$(venv)/.development: $(build_inputs) | $(bin)/python
	@echo "Building nucleiseg and installing it into $(venv), with what tests and checks need."
	@$(pip) install --config-settings cmake.define.NUCLEISEG_WERROR=ON \
	  --config-settings cmake.define.NUCLEISEG_EMULATION=ON --editable '.[docs,lint,test,train]'
	@touch $@ $(venv)/.package
