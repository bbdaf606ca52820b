"""Diagnostics of the models."""


def test_what_a_wrong_text_and_a_wrong_voice_cost(results):
  for result in results.values():
    found = {k: v.value for k, v in result.diagnostics.items()}
    assert found == {
      "ctc_cer": 0.0,
      "codes_in_use": 0.75,
      "ar_cost": 2.0,
      "ar_wrong_reference": 0.5,
      "ar_wrong_text": 1.0,
    }
