"""A distilled flow matching speaks by the doors of one that was not."""

import numpy as np
import pytest

from s02jax.bundle import Bundle
from s02jax.core.errors import UserError
from s02jax.serving import export, functions, runtime
from s02jax.synthesis.render.chunks import GUIDANCE, STEPS
from s02jax.synthesis.render.streams import RenderStream
from s02jax.synthesis.request import Request
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny

TOKENS = np.random.default_rng(0).integers(0, 64, 60).astype(np.int32)


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Synthesizer:
  """Synthesizer of a bundle with a student, written and read again."""
  folder = tmp_path_factory.mktemp("student") / "bundle"
  tiny.student("mean").write(folder)
  assert Bundle.load(folder).fingerprint == tiny.student("mean").fingerprint
  return Synthesizer.load(folder)


def sound(student, voice, burst: int, **settings) -> np.ndarray:
  """Sound of TOKENS, streamed as they come, some at a time."""
  stream = RenderStream(
    student.renderer, voice, seed=3, whole=False, **settings
  )
  parts = []
  for i in range(0, len(TOKENS), burst):
    stream.append(TOKENS[i : i + burst])
    parts += student.renderer.advance({0: stream}).values()
  stream.finish()
  while not stream.exhausted:
    parts += student.renderer.advance({0: stream}).values()
  return np.concatenate(parts)


def test_a_model_is_solved_as_it_was_made_to_be(synthesizer, student):
  teacher = synthesizer.flow.solver.settings
  assert teacher(None, None) == {"steps": STEPS, "guidance": GUIDANCE}
  assert teacher(3, 2.0) == {"steps": 3, "guidance": 2.0}
  own = student.flow.solver.settings
  assert own(None, None) == {"steps": 2, "guidance": 1.0}
  assert own(4, None) == {"steps": 4, "guidance": 1.0}


def test_a_student_streams_the_same_sound_however_tokens_come(student, voices):
  """Two steps are the default, and others are heard."""
  all_at_once = sound(student, voices[1], len(TOKENS))
  np.testing.assert_array_equal(sound(student, voices[1], 5), all_at_once)
  assert len(all_at_once) == len(TOKENS) * tiny.SAMPLES
  two, one = (sound(student, voices[1], 60, steps=n) for n in (2, 1))
  np.testing.assert_array_equal(two, all_at_once)
  assert np.abs(one - two).max() > 1e-4


def test_guidance_of_a_student_is_one_sentence(student, voices):
  request = Request(text="Good morning", language="en", voice=voices[0])
  with pytest.raises(UserError, match="guidance is 2.0; .* takes none"):
    RenderStream(student.renderer, voices[0], seed=3, whole=True, guidance=2.0)
  with pytest.raises(UserError, match="another bundle"):
    student.engine().submit(request)


def test_an_export_says_how_its_model_is_solved(synthesizer, student):
  for made, expected in (
    (synthesizer, {"steps": STEPS, "guidance": GUIDANCE}),
    (student, {"steps": 2, "guidance": None}),
  ):
    bundle = tiny.bundle() if made is synthesizer else tiny.student("mean")
    card = export.sizes(bundle, made) | {"emotions": []}
    assert card["flow_matching"]["solver"] == expected
    flow = runtime._renderer(card, None, {}).flow
    assert {"steps": flow.steps, "guidance": flow.guidance} == expected
    weights = functions.exported_weights(made)
    exported = functions.exported_functions(made, weights)
    given = [a for name, _, a in exported if name.startswith("velocity_")]
    assert all(("end" in a[1]) == (made is student) for a in given) and given
