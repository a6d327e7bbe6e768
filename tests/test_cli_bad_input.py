"""Bad command lines: each is answered in one line with status 2, before TensorFlow loads, and nothing is written."""

import json
import shlex

from larq_equalbits._errors import advice

# What is typed, and with what the answer ends. `run` is the folder of a run.
BAD = rf"""
nothing => No such command 'nothing'.
swep => No such command 'swep'. Did you mean sweep?
train --unknown => No such option '--unknown'.
train --model resnet-18 => but got 'resnet-18'. Did you mean resnet18?
train --dataset mnist => or a folder with a subfolder of images for each class, but got 'mnist'.
train --quantizer bihalf => ste_tern, ste_heaviside, dorefa_quantizer, but got 'bihalf'. Did you mean bi_half?
train --recipe best => recipe must be one of equal-bits, siman, ir-net, mpt, but got 'best'.
train --optimizer addam => optimizer must be one of sgd, adam, but got 'addam'. Did you mean adam?
train --strategy many => strategy must be one of mirrored, multiworker, but got 'many'.
train --epochs 0 => Invalid value for '--epochs': 0 is not in the range 1<=x<=1000000.
train --epochs 2 --warmup-epochs 3 => warmup_epochs must be fewer than the 2 epochs, but got 3.0.
train --milestones a,b => --milestones must be numbers with commas between, but got 'a,b'.
train --milestones '' => --milestones must be numbers with commas between, but got ''.
train --quantizer-option 0.3 => --quantizer-option must be NAME=VALUE, but got '0.3'.
train --estimator 0.1 => two positive numbers, t at the start and at the end, or "none", but got (0.1,).
train --percentile 1,2 => --percentile must be a number or none, but got '1,2'.
train --score-sparsity half => --score-sparsity must be numbers with commas between, but got 'half'.
train --name a/b => --name must be the plain name of a folder, without separators, but got 'a/b'.
train --out run => add --resume to go on with it, or --overwrite to replace it.
train --resume --name none => folder must be that of a run, but there is no runs/none/settings.json.
sweep --ratios '' => ratios must be at least one number from 0 to 1, but got [].
sweep --ratios 0.3,2 => ratios must be from 0 to 1, but got 2.0.
sweep --ratios 0.1:1.9:0.1 => ratios must be from 0 to 1, but got '0.1:1.9:0.1'.
sweep --ratios 0:1:1e-9 => ratios must be at most 10,000 ratios, not 1000000001, but got '0:1:1e-9'.
sweep --repeats 0 => Invalid value for '--repeats': 0 is not in the range 1<=x<=10000.
sweep --repeats {"9" * 20} => Invalid value for '--repeats': {"9" * 20} is not in the range 1<=x<=10000.
sweep --workers 0 => --workers must be a number from 1 to 1000, or auto, but got '0'.
sweep --workers {"9" * 20} => --workers must be a number from 1 to 1000, or auto, but got '{"9" * 20}'.
sweep --model conv3 => but got 'conv3'. Did you mean conv8?
sweep --dataset mnist => or a folder with a subfolder of images for each class, but got 'mnist'.
sweep --epochs 0 => Invalid value for '--epochs': 0 is not in the range 1<=x<=1000000.
sweep --name a/b => --name must be the plain name of a folder, without separators, but got 'a/b'.
sweep --per-layer => --per-layer needs another --search than grid.
sweep --search random --per-layer --reference 0.5 => --reference needs one ratio for all layers, not --per-layer.
sweep --search hyperband --max-trials 3 => --max-trials needs another --search than hyperband.
sweep --search random --max-trials 0 => Invalid value for '--max-trials': 0 is not in the range x>=1.
sweep --search random --quantizers bihalf => but got 'bihalf'. Did you mean bi_half?
sweep --search random --sparsities 1 => numbers from 0 to below 1 with commas between, but got '1'.
sweep --search random --sparsities half => --sparsities must be numbers with commas between, but got 'half'.
sweep --objective speed => for the objective 'speed', but got None.
sweep --objective bit_flips => direction must be "min" or "max" for the objective 'bit_flips', but got None.
sweep --objective a --objective b => --objective must be NAME=WEIGHT where there are several, but got 'a'.
sweep --objective a=1 --objective b => --objective must be NAME=WEIGHT where there are several, but got 'b'.
sweep --out run => out must be a new folder or that of a sweep, but run holds other things.
sweep --out run --report => needs the folder of a sweep, but there is no run/sweep.json.
convert none => SOURCE must be a run folder or a saved Keras model, but there is no none.
convert run => which is not installed: {advice("deploy")}.
convert run --without conv => but got 'conv'. Did you mean conv1d?
convert run --without magic => ternary_batch_norm, grouped_batch_norm, not_binary, but got 'magic'.
convert run --decisions most => argmax, values or a threshold, or OUTPUT=RULE, but got 'most'.
convert run --out run => --out must be the name of a file, but it is a folder, but got 'run'.
convert run --out folder/ => --out must be the name of a file, but it is a folder, but got 'folder'.
convert run --out . => --out must be the name of a file, but it is a folder, but got '.'.
convert run --out '' => --out must be the name of a file, but it is a folder, but got '.'.
convert run --out run/x.json => one that ends in .tflite, but got 'run/x.json'.
verify . => --tflite must be a .tflite file, but there is none at model.tflite: convert SOURCE first.
verify run => which is not installed: {advice("deploy")}.
verify run --tflite folder/ => --tflite must be a .tflite file, but there is none at folder: convert SOURCE first.
verify run --tflite . => --tflite must be a .tflite file, but there is none at .: convert SOURCE first.
verify run --tflite '' => --tflite must be a .tflite file, but there is none at .: convert SOURCE first.
inspect none => FILE must be a .tflite file, but there is no none.
report none => RUN must be a run folder or that of a sweep, but got 'none'.
report . => model.json, device/report.json, so there is nothing to report.
report run --out other.txt => but other.txt is another: choose another name.
device none => MODEL must be a run folder with a model.tflite, or a .tflite file, but got none.
device alone.tflite => . has no settings.json that names a data set; give real images with --inputs FILE.npy.
device run --on pi => "ssh:USER@HOST[:PORT]" or "adb[:SERIAL]", but got 'pi'.
device run --threads 0 => from 1 to 1024 with commas between, such as 1,2,4, but got '0'.
device run --threads 1,x => from 1 to 1024 with commas between, such as 1,2,4, but got '1,x'.
device run --images 0 => Invalid value for '--images': 0 is not in the range x>=1.
device run --inputs none.npy => --inputs: there is no none.npy.
device run --inputs other.txt => numpy.save or numpy.savez, but is not: No data left in file.
device run --no-such-option => No such option '--no-such-option'.
"""


def test_bad_input_is_answered_in_a_line_before_tensorflow_loads_and_nothing_is_written(run_python, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "run").mkdir()
    settings = {"model": "conv2", "dataset": "digits", "recipe": "mpt"}
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings))
    for file in ("run/model.tflite", "alone.tflite", "other.txt"):
        (tmp_path / file).write_text("")
    before = sorted(tmp_path.rglob("*"))
    typed, answers = zip(*(line.split(" => ") for line in BAD.strip().splitlines()), strict=True)
    code = (
        "import os, sys\nfrom larq_equalbits_program import main\n"
        f"os.chdir({str(tmp_path)!r}); sys.modules['larq_compute_engine'] = None\n"
        f"for arguments in {[shlex.split(line) for line in typed]}:\n"
        "    sys.argv[1:] = arguments\n"
        "    try:\n        main()\n    except SystemExit as done:\n        assert done.code == 2, arguments\n"
        "    assert 'tensorflow' not in sys.modules, arguments\n"
        "    print('---', file=sys.stderr)"
    )
    done = run_python("-c", code)
    assert done.stdout == "", done.stderr
    for line, said, answer in zip(typed, done.stderr.split("\n---\n")[:-1], answers, strict=True):
        assert said.endswith(answer), line
        assert "\n" not in said or said.startswith("Usage: "), line
    assert sorted(tmp_path.rglob("*")) == before
