"""Exports for the Hugging Face ecosystem: a `datasets` folder, and a data set repository on the hub.

Both start from an export to Parquet, so that what is published is what a folder would have held. The libraries are
imported only here, when asked for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import Tell
from annotate_app.exchange.files_out import Exported, export_rows, new_folder
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.store.store import Store

INSTALL = 'pip install "tiebreak[train]"'


def export_datasets(
    store: Store, actor: Actor, project_id: int, out: Path, options: ExportOptions, tell: Tell | None = None
) -> Exported:
    """Writes a folder that `datasets.load_from_disk` opens, with the card beside it.

    Raises:
        ImportError: with the line that installs `datasets`.
        ValueError: if `out` is there already.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"format datasets needs the package datasets: {INSTALL}") from error
    if out.exists() and not options.overwrite:
        raise ValueError(f"{out} is there already; --overwrite replaces it")
    with tempfile.TemporaryDirectory() as scratch:
        exported = export_rows(store, actor, project_id, Path(scratch) / "rows", _parquet(options), tell)
        parts = {path.stem: path for path in exported.files if path.suffix == ".parquet"}
        splits = {name: datasets.Dataset.from_parquet(str(path), cache_dir=scratch) for name, path in parts.items()}
        with new_folder(out) as folder:
            datasets.DatasetDict(**splits).save_to_disk(str(folder))
            card = next(path for path in exported.files if path.name == "README.md")
            (folder / "README.md").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
            if (exported.path / "images").is_dir():
                shutil.copytree(exported.path / "images", folder / "images")
    return replace(exported, path=out, files=(out / "README.md",))


def export_to_hub(
    store: Store,
    actor: Actor,
    project_id: int,
    repository: str,
    options: ExportOptions,
    *,
    public: bool = False,
    tell: Tell | None = None,
) -> Exported:
    """Uploads an export as a data set repository `owner/name` on the hub, private unless asked otherwise.

    The token is what `huggingface_hub` finds: HF_TOKEN, or the one its login command stored.

    Raises:
        ImportError: with the line that installs `huggingface_hub`.
        ValueError: if the name is none, there is no token, or the hub refuses.
    """
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
        from huggingface_hub.errors import (  # pyright: ignore[reportMissingImports]
            HfHubHTTPError,
            HFValidationError,
        )
    except ImportError as error:
        raise ImportError(f"format hub needs the package huggingface_hub: {INSTALL}") from error
    token = huggingface_hub.get_token()
    if token is None:
        raise ValueError("the hub asks for a token: set HF_TOKEN, or run `hf auth login`")
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        raise ValueError("HF_HUB_OFFLINE is set: nothing is sent to the hub")
    with tempfile.TemporaryDirectory() as scratch:
        exported = export_rows(store, actor, project_id, Path(scratch) / "rows", _parquet(options), tell)
        hub = huggingface_hub.HfApi(token=token)
        try:
            url = hub.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
            hub.upload_folder(
                repo_id=repository,
                repo_type="dataset",
                folder_path=exported.path,
                commit_message=f"{sum(exported.num_rows.values())} rows exported from Tiebreak",
            )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise ValueError(f"the hub did not take {repository!r}: {error}") from error
    return replace(exported, path=Path(str(url)), files=())


def _parquet(options: ExportOptions) -> ExportOptions:
    return replace(options, format="parquet", overwrite=False)
