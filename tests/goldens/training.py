"""What surrounds the loss: optimizer, schedules, metrics, the student's view."""

import numpy as np

from experiments.evaluation import metrics
from goldens.golden import flow_pixels, flow_planes, pixels, planes
from goldens.graph import numpy, tensors
from uflow import backend as ms
from uflow import optimizer, registry, schedule

# flags of the reference and their defaults, for what the manifest's settings do not give
FLAGS = {
    "gpu_learning_rate": 1e-4,
    "weight_selfsup": 0.6,
    "selfsup_after_num_steps": 500_000,
    "selfsup_ramp_up_steps": 100_000,
}


class Update(ms.nn.Cell):
    def __init__(self, update):
        super().__init__(auto_prefix=False)
        self.update = update

    @ms.jit
    def construct(self, gradient, learning_rate, powers):
        return self.update((gradient,), learning_rate, powers)


def check_optimizer(golden):
    parameter = ms.Parameter(ms.Tensor(golden["x0"]), name="x")
    update = optimizer.build("adam", [parameter])
    cell = Update(update)
    for step, gradient in enumerate(golden["grads"]):
        cell(*tensors([gradient, np.float32(golden.entry["lr"]), update.powers(step)]))
        golden.check(f"x{step + 1}", parameter.asnumpy(), golden.tolerance())


def check_schedules(golden):
    settings = FLAGS | golden.entry["settings"]
    base = settings["gpu_learning_rate"]
    after, length = settings["lr_decay_after_num_steps"], settings["lr_decay_steps"]
    for match in golden.matching(r"lr_(.+)"):
        rates = [schedule.learning_rate(int(s), base, match[1], after, length) for s in golden["steps"]]
        golden.check(match[0], rates, golden.tolerance())
    start, ramp = settings["selfsup_after_num_steps"], settings["selfsup_ramp_up_steps"]
    grown = np.array([schedule.linear_ramp(int(step), start, ramp) for step in golden["selfsup_steps"]])
    golden.check("selfsup_weight", settings["weight_selfsup"] * grown, golden.tolerance())


def check_metrics(golden):
    tolerance = golden.tolerance()
    flows, truths = flow_planes(golden["pred"]), flow_planes(golden["gt"])
    scores, occluded = golden["soft_occ"][..., 0], golden["gt_occ"][..., 0]
    counts = [metrics.occlusion_counts(s, o) for s, o in zip(scores, occluded, strict=True)]
    golden.check("f_metrics0", np.column_stack([metrics.THRESHOLDS, counts[0]]), tolerance)
    pairs = list(zip(flows, truths, strict=True))
    for name in ("sintel", "chairs"):
        error = [metrics.masked_mean(metrics.end_point_error(*pair)) for pair in pairs]
        golden.check(f"{name}/EPE", metrics.mean_over_frames(error), tolerance)
        rate = [metrics.masked_mean(metrics.outliers(*pair)) for pair in pairs]
        golden.check(f"{name}/ER", metrics.mean_over_frames(rate), tolerance)
    check_scores(golden, "sintel", counts, tolerance)
    # the data set has no occlusion: nothing is computed, which the reference writes as -1
    for key in ("occl-f-max", "best-occl-thresh"):
        assert golden[f"chairs/{key}"] == -1
    occ, noc = golden["kitti/valid_occ"][..., 0], golden["kitti/valid_noc"][..., 0]
    for name, valid in (("occ", occ), ("noc", noc)):
        # the labels of KITTI are (x, y)
        truths = planes(golden[f"kitti/flow_uv_{name}"])
        pairs = list(zip(flows, truths, valid, strict=True))
        error = [metrics.masked_mean(metrics.end_point_error(f, t), v) for f, t, v in pairs]
        golden.check(f"kitti/EPE({name})", metrics.mean_over_frames(error, metrics.KITTI_CEILING), tolerance)
        rate = [metrics.masked_mean(metrics.outliers(f, t), v) for f, t, v in pairs]
        golden.check(f"kitti/ER({name})", metrics.mean_over_frames(rate, metrics.KITTI_CEILING), tolerance)
    hidden = [metrics.occlusion_counts(s, v - n, v) for s, v, n in zip(scores, occ, noc, strict=True)]
    check_scores(golden, "kitti", hidden, tolerance)


def check_scores(golden, name, counts, tolerance):
    best, threshold = metrics.best_f_score(sum(counts))
    golden.check(f"{name}/occl-f-max", best, tolerance)
    golden.check(f"{name}/best-occl-thresh", threshold, tolerance)


class Views(ms.nn.Cell):
    """What the student sees of images, masks and flows of a level."""

    def __init__(self, component, level):
        super().__init__()
        self.component, self.level = component, level

    @ms.jit
    def construct(self, image, mask, flow, shift=None, other=None):
        view, level = self.component.view, self.level
        flow = self.component.flow_view(flow, level, shift, other)
        return view(image, level, shift), view(mask, level, shift), flow


def check_selfsup_transforms(golden):
    tolerance = golden.tolerance()
    height, width = golden.entry["params"]["crop"]
    crop = {"crop_height": height, "crop_width": width}
    for level in [int(match[1]) for match in golden.matching(r"in_L(\d)_img")]:
        inputs = [planes(golden[f"in_L{level}_img"]), planes(golden[f"in_L{level}_mask"])]
        inputs.append(flow_planes(golden[f"in_L{level}_flow"]))
        for name in ("resize", "crop"):
            component = registry.build("selfsup", "teacher_student", crop | {"resize": name == "resize"})
            image, mask, flow = numpy(Views(component, level)(*tensors(inputs)))
            golden.check(f"out_L{level}_img_{name}", pixels(image), tolerance)
            golden.check(f"out_L{level}_mask_{name}", pixels(mask), tolerance)
            golden.check(f"out_L{level}_flow_{name}", flow_pixels(flow), tolerance)
        # the file says by how much each level was shifted; the reference's shifts of level 2 are not those of level 0
        # divided by 4, so each level is given the shift at full resolution that belongs to its own
        shifts = np.stack([golden[f"shift_L{level}_widths"], golden[f"shift_L{level}_heights"]], axis=1) * 2**level
        shifted = registry.build(
            "selfsup", "teacher_student", crop | {"max_shift_height": height, "max_shift_width": width}
        )
        cell = Views(shifted, level)
        for i in (0, 1):
            image, _, flow = numpy(
                cell(*tensors([*inputs, shifts[i].astype(np.int32), shifts[1 - i].astype(np.int32)]))
            )
            golden.check(f"shift_L{level}_img_i{i}", pixels(image), tolerance)
            golden.check(f"shift_L{level}_flow_i{i}", flow_pixels(flow), tolerance)
