"""Records of a corpus, written by TensorFlow Datasets without TensorFlow."""

import contextlib
import io
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from s02jax.data import records


class CorpusBuilder(tfds.core.GeneratorBasedBuilder):
  """Builder of TFDS whose i-th record of a split is the i-th example given."""

  name = "speech"  # of the folder that holds the records
  VERSION = tfds.core.Version(records.FORMAT_VERSION)

  def __init__(
    self,
    data_dir: pathlib.Path,
    description: str,
    examples: Mapping[str, Iterable[dict[str, Any]]],
  ):
    self._description = description
    self._examples = examples
    super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text
    return tfds.core.DatasetInfo(
      builder=self,
      description=self._description,
      disable_shuffling=True,
      features=tfds.features.FeaturesDict(
        {
          "id": text(doc="unique within the corpus"),
          "audio": tfds.features.Scalar(
            np.object_, doc="FLAC, mono, 16 bit, at the rate of card.json"
          ),
          "num_samples": tfds.features.Scalar(np.int32),
          "duration": tfds.features.Scalar(np.float32, doc="seconds"),
          "text": text(doc="NFC; empty without transcript"),
          "language": text(doc="code of s02jax.core.languages"),
          "speaker": text(),
          "source": text(doc="file or generator"),
          "emotion": text(doc="empty if unknown"),
          "description": text(doc="of the voice; empty if unknown"),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    return {
      split: enumerate(examples) for split, examples in self._examples.items()
    }

  def _generate_examples(self):
    raise NotImplementedError("_split_generators hands out the examples")


def serialiser() -> Callable[[Mapping[str, Any]], bytes]:
  """Function from the fields of a record to bytes, alike in every process.

  TFDS itself leaves the order of the fields to protobuf, which draws it anew
  for each process.
  """
  features = CorpusBuilder(pathlib.Path("."), "", {}).info.features
  assert features is not None
  convert = example_serializer.ExampleSerializer(
    features.get_serialized_info()
  ).get_tf_example

  def serialise(record: Mapping[str, Any]) -> bytes:
    example = convert(features.encode_example(record))
    return example.SerializeToString(deterministic=True)

  return serialise


def shard_name(split: str, number: int, count: int) -> str:
  """Name of a file of records that `describe` finds."""
  return (
    f"{CorpusBuilder.name}-{split}.array_record-{number:05d}-of-{count:05d}"
  )


def describe(
  folder: pathlib.Path, description: str, lengths: Mapping[str, list[int]]
) -> None:
  """Writes the metadata of records that lie in <folder>/speech/<version>.

  Args:
    folder: corpus folder.
    description: sentence for the dataset's card.
    lengths: split -> number of records in each of its files, in order.
  """
  builder = CorpusBuilder(folder, description, {})
  path = records.CorpusFiles(folder).records
  splits = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=counts,
      num_bytes=sum(file.stat().st_size for file in path.glob(f"*-{split}.*")),
      filename_template=tfds.core.ShardedFileTemplate(
        data_dir=path,
        dataset_name=CorpusBuilder.name,
        split=split,
        filetype_suffix="array_record",
      ),
    )
    for split, counts in lengths.items()
  ]
  builder.info.set_splits(tfds.core.splits.SplitDict(splits))
  builder.info.write_to_directory(path)


def write(
  folder: pathlib.Path,
  description: str,
  examples: Mapping[str, Iterable[dict[str, Any]]],
) -> None:
  """Writes <folder>/speech/<version>, silently and without network.

  Args:
    folder: corpus folder.
    description: sentence for the dataset's card.
    examples: split -> records, in order.
  """
  tfds.disable_progress_bar()
  builder = CorpusBuilder(folder, description, examples)
  downloads = folder / "downloads"
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(
      download_dir=os.fspath(downloads),
      download_config=tfds.download.DownloadConfig(
        try_download_gcs=False, register_checksums=False
      ),
    )
  shutil.rmtree(downloads, ignore_errors=True)
