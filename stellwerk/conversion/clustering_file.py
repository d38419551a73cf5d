"""The file of a clustering: arrays and JSON, sealed, so that reading one runs no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from stellwerk.conversion.clustering import Clustering
from stellwerk.conversion.clusters import Cluster
from stellwerk.conversion.site import Site
from stellwerk.errors import ConfigurationError, ModelFileError
from stellwerk.routers.sealed import Arrays, Seal, array_of, list_of, strings, text_array
from stellwerk.routers.terms import Terms

FORMAT = "stellwerk-clusters"
VERSION = 1

_SEAL = Seal(FORMAT, VERSION, "clustering", "find the clusters again")


def save_clustering(clustering: Clustering, path: str | Path) -> Clustering:
    """Write a clustering to a file, which is there as a whole or not at all.

    Returns:
        The clustering with the digest of the file.

    Raises:
        ModelFileError: if the file cannot be written.
        MissingExtraError: if safetensors is not installed.
    """
    data = clustering_bytes(clustering)
    _SEAL.write(data, Path(path))
    return replace(clustering, digest=str(_SEAL.record(data, "the file")["digest"]))


def load_clustering(path: str | Path, *, embeddings: Embeddings | None = None) -> Clustering:
    """Read a clustering from a file.

    Args:
        path: of the file.
        embeddings: those that the clusters were found with, if they were.

    Raises:
        ModelFileError: if the file is absent, damaged, tampered with, or of another version.
        ConfigurationError: if the clustering needs embeddings.
        MissingExtraError: if safetensors is not installed.
    """
    return read_clustering(_SEAL.read(Path(path)), embeddings=embeddings, name=str(path))


def clustering_bytes(clustering: Clustering) -> bytes:
    """The content of the file; the same bytes for the same clustering.

    Raises:
        MissingExtraError: if safetensors is not installed.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for place, site in enumerate(clustering.sites.values()):
        ends = np.cumsum([len(usual) for usual in site.usual], dtype=np.int64)
        arrays |= {
            f"{place}.words": text_array(list(site.terms.words)),
            f"{place}.pieces": text_array(list(site.terms.pieces)),
            f"{place}.idf": site.terms.idf,
            f"{place}.weights": site.weights.astype(np.float16),
            f"{place}.bias": site.bias,
            f"{place}.owners": site.owners,
            f"{place}.signs": np.stack([site.mean, site.scale]),
            f"{place}.usual": np.concatenate(site.usual),
            f"{place}.ends": ends,
        }
    record = {
        "false_alarms": clustering.false_alarms,
        "numbers": dict(clustering.numbers),
        "clusters": [asdict(cluster) for cluster in clustering.clusters],
        "sites": [
            {"call_site": name, "clusters": list(site.clusters), "embedding": site.embedding}
            for name, site in clustering.sites.items()
        ],
    }
    return _SEAL.close(record, arrays)


def read_clustering(
    data: bytes, *, embeddings: Embeddings | None = None, name: str = "the file"
) -> Clustering:
    """The clustering of a file's content.

    Args:
        data: as `clustering_bytes` gave it.
        embeddings: those that the clusters were found with, if they were.
        name: of the file, for errors.

    Raises:
        ModelFileError: if the content is damaged, tampered with, or of another version.
        ConfigurationError: if the clustering needs embeddings.
        MissingExtraError: if safetensors is not installed.
    """
    record, arrays = _SEAL.open(data, name)
    try:
        found = _clustering(record, arrays)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ModelFileError(f"{name} is no whole clustering: {error}; find the clusters again") from error
    if embeddings is None and any(site.embedding for site in found.sites.values()):
        raise ConfigurationError(f"the clusters of {name} were found with embeddings; pass the same ones")
    return replace(found, embeddings=embeddings)


def _clustering(record: Mapping[str, Any], arrays: Arrays) -> Clustering:
    false_alarms = float(record["false_alarms"])
    if not 0 < false_alarms < 1:
        raise ValueError(f"its rate of false alarms is {false_alarms}")
    clusters = tuple(
        Cluster(**{**one, "words": strings(one["words"]), "size": int(one["size"])})
        for one in record["clusters"]
    )
    sites = [_site(one, arrays, str(place)) for place, one in enumerate(record["sites"])]
    told = [id for site in sites for id in site.clusters]
    if sorted(told) != sorted(cluster.id for cluster in clusters) or len(set(told)) < len(told):
        raise ValueError("its call sites have other clusters than it tells of")
    return Clustering(
        clusters=clusters,
        sites={site.call_site: site for site in sites},
        false_alarms=false_alarms,
        numbers={str(site): int(number) for site, number in record["numbers"].items()},
        digest=str(record["digest"]),
    )


def _site(record: Mapping[str, Any], arrays: Arrays, place: str) -> Site:
    words, pieces = (strings(list_of(arrays[f"{place}.{name}"])) for name in ("words", "pieces"))
    terms, kinds = len(words) + len(pieces), len(arrays[f"{place}.bias"])
    clusters, embedding = strings(record["clusters"]), int(record["embedding"])

    def array(name: str, kind: type[np.generic], *shape: int) -> np.ndarray[Any, Any]:
        return array_of(arrays, f"{place}.{name}", kind, *shape)

    owners = array("owners", np.int32, kinds)
    if not kinds or embedding < 0 or owners.min() < 0 or owners.max() >= len(clusters):
        raise ValueError("its kinds belong to clusters that it has not")
    ends = array("ends", np.int64, len(clusters))
    usual = array("usual", np.float64, int(ends[-1]))
    parts = tuple(np.split(usual, ends[:-1]))
    if sum(map(len, parts)) != len(usual) or any((np.diff(part) < 0).any() for part in parts):
        raise ValueError("its distances are not in order")
    mean, scale = array("signs", np.float64, 2, 2)
    if not (scale > 0).all():
        raise ValueError("a standard deviation is not above 0")
    return Site(
        call_site=str(record["call_site"]),
        clusters=clusters,
        terms=Terms(words, pieces, array("idf", np.float32, terms)),
        weights=array("weights", np.float16, terms + embedding, kinds).astype(np.float32),
        bias=array("bias", np.float32, kinds),
        owners=owners,
        mean=mean,
        scale=scale,
        usual=parts,
        embedding=embedding,
    )
