"""Augmentation with the draws that the files were made with."""

from experiments.data.augmentation import geometric, photometric
from goldens.golden import flow_pixels, flow_planes

# a case is called by its function and, behind an underscore, by what is special about it
GEOMETRIC = {
    "flip_lr": lambda sample, draws: geometric.flip_horizontal(sample) if draws[0] else sample,
    "flip_ud": lambda sample, draws: geometric.flip_vertical(sample) if draws[0] else sample,
    "scale": lambda sample, draws: geometric.scale(sample, draws[0]),
    "scale2": lambda sample, draws: geometric.scale_second(sample, draws[0]),
    "rot": lambda sample, draws: geometric.rotate(sample, draws[0]),
    "rot2": lambda sample, draws: geometric.rotate_second(sample, draws[0]),
}
PHOTOMETRIC = {
    "hue": photometric.turn_hue,
    "saturation": photometric.scale_saturation,
    "contrast": photometric.scale_contrast,
    "brightness": photometric.add_brightness,
}


def cropped(sample, draws, arguments):
    height, width = arguments["crop_height"], arguments["crop_width"]
    return geometric.crop(geometric.fitted(sample, height, width), height, width, tuple(draws[:2]), tuple(draws[2:]))


def check_augmentation(golden):
    tolerance = golden.tolerance()
    frames = golden["images"]
    sample = geometric.Sample(frames, flow_planes(golden["flow"]), golden["mask"][..., 0])
    for case, given in golden.entry["draws"].items():
        if case.startswith("crop"):
            changed = cropped(sample, given["draws"], given["kwargs"])
        else:
            name = case.removeprefix("no")  # noflip_lr: with a draw that says no
            changed = GEOMETRIC[name if name in GEOMETRIC else name.split("_")[0]](sample, given["draws"])
        golden.check(f"{case}/images", changed.frames, tolerance)
        golden.check(f"{case}/flow", flow_pixels(changed.flow), tolerance)
        golden.check(f"{case}/mask", changed.valid[..., None], tolerance)
    for match in golden.matching(rf"({'|'.join(PHOTOMETRIC)})_([\d.e+-]+)"):
        function = PHOTOMETRIC[match[1]]
        named = match[1] if match[1] in golden.entry["tol"] else ""
        golden.check(match[0], function(frames, float(match[2])), golden.tolerance(named))
    for match in golden.matching(r"colorswap_(\d)_(\d)(?:_alone)?"):
        got = photometric.swap_colors(frames, int(match[1]), match[2] == "1")
        golden.check(match[0], got, tolerance)
