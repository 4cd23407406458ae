import sys

import pytest

from annotate_app.access import Actor
from annotate_app.exchange.hub import export_datasets, export_to_hub
from annotate_app.exchange.rows.options import ExportOptions

ADMIN = Actor.command_line()


def test_missing_libraries_are_named_with_the_line_that_installs_them(
    sqlite_store, make_project, tmp_path, monkeypatch
):
    project = make_project(sqlite_store)
    for name in ("datasets", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails as if it were not installed
    with pytest.raises(ImportError, match=r'needs the package datasets: pip install "tiebreak\[train\]"'):
        export_datasets(sqlite_store, ADMIN, project.id, tmp_path / "out", ExportOptions())
    with pytest.raises(ImportError, match=r'needs the package huggingface_hub: pip install "tiebreak\[train\]"'):
        export_to_hub(sqlite_store, ADMIN, project.id, "owner/name", ExportOptions())
    assert not (tmp_path / "out").exists()


@pytest.mark.bench
def test_hub_is_refused_without_a_token_and_offline(sqlite_store, make_project, monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub", reason="needs the [bench] extra")
    project = make_project(sqlite_store)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="the hub asks for a token: set HF_TOKEN"):
        export_to_hub(sqlite_store, ADMIN, project.id, "owner/name", ExportOptions())
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="nothing is sent to the hub"):
        export_to_hub(sqlite_store, ADMIN, project.id, "owner/name", ExportOptions())
