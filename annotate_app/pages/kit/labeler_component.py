"""The labeling component and its frontend files, registered once a process."""

from __future__ import annotations

import tomllib
from pathlib import Path

import streamlit as st
from streamlit.components.v2 import component
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

import annotate_app

COMPONENT = "tiebreak.labeler"


def mount_labeler():  # noqa: ANN201
    """The component, its files served once from the package.

    Streamlit finds manifests through distributions whose import package has their name; ours has three packages of
    other names, so the manifest beside this package is registered here.
    """
    root = Path(annotate_app.__file__).parent
    manager = get_bidi_component_manager()
    if manager.get_component_asset_root(COMPONENT) is None:
        declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        parts = [ComponentConfig.from_dict(part) for part in declared["tool"]["streamlit"]["component"]["components"]]
        project = declared["project"]
        manager.register_from_manifest(
            ComponentManifest(name=project["name"], version=project["version"], components=parts), root
        )
    return build_labeler()


@st.cache_resource
def build_labeler():  # noqa: ANN201
    """The mounting function, made once a process."""
    return component(COMPONENT, js="labeler.js", css="labeler.css")
