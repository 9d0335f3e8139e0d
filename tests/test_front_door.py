import subprocess
import sys

import pytest

import unmingle

PROMISED = {
    "Model",
    "ModelEntry",
    "Separation",
    "SeparationOptions",
    "Stream",
    "__version__",
    "list_models",
    "load_model",
    "separate",
    "separate_file",
}


def test_all_is_what_we_promise():
    assert set(unmingle.__all__) == PROMISED
    assert set(dir(unmingle)) == PROMISED


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_what_is_promised_is_there(name):
    found = getattr(unmingle, name)
    assert name == "__version__" or found.__name__ == name


def test_what_is_not_promised_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'seperate'"):
        _ = unmingle.seperate


@pytest.mark.parametrize(
    "statement",
    [
        "import unmingle",
        "import unmingle.cli.app",
        "from unmingle import separate, separate_file, load_model, list_models, Separation",
        "import unmingle.audio.io, unmingle.audio.resample, unmingle.audio.survey, unmingle.inference.jobs",
    ],
)
def test_importing_does_not_import_torch(statement):
    code = f"import sys\n{statement}\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_importing_imports_next_to_nothing():
    code = "import sys, unmingle; print(sorted({'numpy', 'av', 'soundfile', 'rich', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
