from fs_kernel.testing import tiny_run


def losses(folder, steps, **options):
    folder.mkdir(exist_ok=True)
    values = {"training.objectives": "critic", "training.iterations": steps, **options}
    with tiny_run(folder, trainer="standard", set=values) as run:
        return [(metrics.losses, metrics.values["critic"]) for metrics in run]


def test_it_resumes_to_the_bit(tmp_path):
    whole = losses(tmp_path / "whole", 5)
    assert losses(tmp_path / "parts", 3) + losses(tmp_path / "parts", 5) == whole


def test_it_learns_to_tell_them_apart(tmp_path):
    judged = [value for _, value in losses(tmp_path, 40)]
    assert judged[-1] < judged[0]
