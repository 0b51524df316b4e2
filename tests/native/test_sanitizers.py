"""The self-tests under the race detector, and under those of addresses and undefined behaviour."""

import pytest
from programs import ROOT, SANE, compiler, make, run

KINDS = {"race": "thread", "address": "address,undefined"}
PROGRAM = "int main() { return 0; }\n"


@pytest.mark.parametrize("target", KINDS)
def test_the_kernels_do_nothing_forbidden(target, tmp_path):
    source, program = tmp_path / "empty.cpp", tmp_path / "empty"
    source.write_text(PROGRAM)
    flag = f"-fsanitize={KINDS[target]}"
    done = run(compiler(), flag, str(source), "-o", str(program))
    if done.returncode != 0:
        pytest.skip(f"{compiler()} has no {flag}: {done.stdout.strip()}")
    done = run(program)
    if done.returncode != 0:
        pytest.skip(f"programs with {flag} do not run here: {done.stdout.strip()}")
    printed = make(target, "rounds=20")
    assert len(SANE.findall(printed)) == 2, printed
    if target == "race":
        planted = run(ROOT / "build" / "selftest-race" / "selftest", "race")
        assert "WARNING: ThreadSanitizer: data race" in planted.stdout
        assert "race_on_purpose" in planted.stdout
        assert planted.returncode != 0
