"""Which licences the check of deploy/audit refuses, and that the lock file of the service passes it."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = spec_from_file_location("licences", ROOT / "deploy" / "audit" / "licences.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-only",
        "AGPL-3.0-or-later",
        "License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "License :: OSI Approved :: GNU Affero General Public License v3",
        "MIT AND GPL-2.0-only",
        "GPLv2",
    ],
)
def test_copyleft_is_refused(check: ModuleType, licence: str) -> None:
    assert check.refused(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache-2.0",
        "LGPL-3.0-only",
        "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",
        "MIT OR GPL-2.0-only",
    ],
)
def test_others_are_not(check: ModuleType, licence: str) -> None:
    assert not check.refused(licence)


def test_what_a_lock_file_pins(check: ModuleType) -> None:
    assert check.names("# all\nuvicorn[standard]==0.34 \\\n    --hash=sha256:12==\nPyYAML==6.0\n") == [
        "uvicorn",
        "PyYAML",
    ]


def test_the_service_has_no_package_under_the_gpl(check: ModuleType) -> None:
    packages = check.names((ROOT / "deploy" / "requirements" / "cpu.txt").read_text(encoding="utf-8"))
    assert len(packages) > 100
    # A package that an environment lacks is a matter of that environment.
    assert [each for each in check.problems(packages) if "not installed" not in each] == []
