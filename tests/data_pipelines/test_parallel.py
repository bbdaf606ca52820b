"""Parallel map: a crash costs one task, and memory is bounded."""

from data_pipelines import parallel


def test_a_crash_costs_one_task():
  tasks = [f"2 * {n}" for n in range(60)]
  tasks[13] = "__import__('os')._exit(1)"
  with parallel.Workers(2) as workers:
    found = list(workers.map(eval, tasks, lambda task: task))
  assert found == [2 * n if n != 13 else tasks[13] for n in range(60)]


def test_tasks_are_read_only_as_far_as_the_window():
  taken = []

  def tasks():
    for number in range(1000):
      taken.append(number)
      yield str(number)

  with parallel.Workers(1) as workers:
    results = workers.map(eval, tasks(), lambda task: None)
    assert next(results) == 0
    assert len(taken) <= parallel.WINDOW
