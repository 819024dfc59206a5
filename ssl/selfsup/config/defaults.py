"""Every field of a config, with its meaning and default.

This module imports nothing heavy and no jax, so that config files stay plain.
"""

from ml_collections import ConfigDict

CONTROLS = ('none', 'shuffled_pairs', 'shuffled_targets')
LOGGERS = ('tensorboard', 'wandb', 'mlflow', 'trackio')
KIND = 'mlp'  # of a network whose section names none


def _head(widths: tuple[int, ...]) -> ConfigDict:
    """The fields of a projector or predictor: those of :class:`selfsup.models.MLP`."""
    c = ConfigDict()
    c.kind = KIND  # a row of selfsup.models.NETWORKS; the other fields are its keywords
    c.widths = widths  # output width of each layer
    c.hidden_norm = True  # batch-norm after all layers but the last
    c.last_norm = 'none'  # after the last: 'none', 'plain', 'scale', 'affine', 'iterative'
    c.hidden_bias = True  # biases of all layers but the last
    c.last_bias = True  # bias of the last
    c.activation = 'relu'  # or 'gelu', 'leaky_relu'
    return c


def defaults() -> ConfigDict:
    """Every field of a config, with its meaning and default. Config files change what they need to."""
    c = ConfigDict()
    c.seed = 0  # everything random follows from it: initialisation, order, views
    c.control = 'none'  # or the method's control, 'shuffled_pairs' or 'shuffled_targets': nothing should be learned
    c.init_from = ''  # run, encoder folder or file of weights (selfsup.convert) whose encoder the run starts with
    c.branch_from = ''  # run of which this one is a branch: goes on from its last checkpoint before the cool-down
    c.init_networks = ('encoder',)  # which networks of init_from; of a run also others, such as 'projector' or 'head'

    c.method = ConfigDict()
    c.method.name = 'barlow_twins'  # a row of selfsup.methods.METHODS; its other fields are its keywords
    c.method.regularisers = ConfigDict()  # row of selfsup.methods.REGULARISERS -> its keywords; around the criterion

    c.model = ConfigDict()
    c.model.name = 'resnet18'  # a row of selfsup.models.ENCODERS; its other fields are its keywords

    # Networks of the method besides the encoder; a method with others has a section under the name of each.
    c.projector = _head((2048, 2048, 2048))
    c.predictor = _head(())  # after the projector, of the methods that have one (BYOL, SimSiam, ...); () for none

    # Of the methods that have one (MAE): fields are the kind's keywords, filled in from its defaults.
    c.decoder = ConfigDict()
    c.decoder.kind = 'transformer'  # a row of selfsup.models.NETWORKS

    c.schedules = ConfigDict()  # number of the method -> its value at the end of a cosine from method.<name>

    c.data = ConfigDict()
    c.data.source = 'digits'  # digits, tfds:<name>, npz:<file>, folder:<path>, ...: selfsup.data.sources.KINDS
    c.data.dir = ''  # where TFDS keeps its data sets; '' is TFDS's own default
    c.data.batch_size = 256  # global, over all devices
    c.data.holdout = 0.1  # share of train never trained on; diagnostics during training use it
    c.data.test_fraction = 0.2  # share set apart for the test where a source has no test split
    c.data.per_class = 0  # keep only this many training images of each class; 0 keeps all
    c.data.subset = ''  # a file of selfsup subset: train on the rows that it names; probes learn from all
    c.data.image_size = 0  # resize (shorter side) and centre-crop every image on reading; 0 leaves them
    c.data.channels = 0  # 3 or 1 converts every image; 0 leaves them
    c.data.pad = 0  # zero border, in pixels, around every image
    c.data.feed = 'auto'  # 'resident' (all images on the device), 'streaming', or 'auto' by size
    c.data.workers = 0  # processes that decode for the streaming feed; 0 uses threads
    # Where the views' random crops are taken: on the 'device', from the image at data.image_size; on 'reading', from
    # the full image as the papers do; or 'canvas', from the full image, but on the device: readers only decode, and
    # hand each image on in a square of data.canvas pixels (the last two: streaming feed; image_size is evaluation's).
    c.data.crop = 'device'
    c.data.canvas = 512  # longer images are reduced to it
    c.data.on_corrupt = 'stop'  # an image that cannot be decoded: 'stop', or 'skip' to take the next one
    c.data.labels = 'own'  # 'none' ignores the labels of data.source
    c.data.probe_source = ''  # another source whose labelled train and test parts the probes take; '' is data.source
    c.data.background = 'none'  # alpha is dropped ('none'), or blended with 'white' or 'black'
    c.data.orientation = 'stored'  # pixels as they are stored, or turned as the 'exif' orientation says

    c.augment = ConfigDict()
    c.augment.recipe = 'digits'  # a row of selfsup.augment.RECIPES, copied into `views`; '' uses `views` alone
    c.augment.size = 224  # side of the views of recipes that crop
    c.augment.views = ConfigDict()  # view name -> specification (selfsup.augment.pipeline)
    c.augment.mean = (0.5,)  # normalisation of views and of evaluation images
    c.augment.std = (0.5,)  # likewise
    c.augment.evaluation_resize = 0  # shorter side of evaluation images; 0 leaves them
    c.augment.evaluation_crop = 0  # their centre crop; 0 keeps everything

    c.optimizer = ConfigDict()
    # A row of selfsup.optim.OPTIMIZERS: sgd, adamw, lars (papers), lars_clipped (solo-learn), larc (SwAV), lars_classic
    # (SimCLR). Fields that it does not take are of other optimisers.
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3  # peak, for this batch size: configs write the scaling out
    c.optimizer.weight_decay = 1e-4  # added to the gradient; decoupled for adamw
    c.optimizer.weight_decay_final = None  # a cosine to this over the run (DINO: 0.04 to 0.4); None keeps it
    c.optimizer.momentum = 0.9  # of sgd and lars; AdamW's first β
    c.optimizer.beta2 = 0.999  # adamw
    c.optimizer.trust = 1e-3  # lars: η (solo-learn: 0.02)
    c.optimizer.decay_vectors = False  # whether biases and norms (arrays of one axis) are decayed
    c.optimizer.vector_scale = 1.0  # factor on their learning rate (Barlow Twins' code: 0.024)
    c.optimizer.warmup_epochs = None  # linear warm-up; None is 10, or all epochs of a shorter run
    c.optimizer.warmup_start = 0.0  # learning rate at its start
    c.optimizer.warmup_inclusive = False  # its last step has the peak (SwAV, DINO, solo-learn), or the next one
    c.optimizer.final_share = 0.0  # the cosine, or the cool-down, ends at this share of the peak
    c.optimizer.schedule = 'cosine'  # cosine or constant, after the warm-up
    c.optimizer.cooldown_epochs = 0.0  # last epochs, over which a constant rate falls linearly; 0 for none
    c.optimizer.by_epoch = False  # the schedule moves once an epoch (MoCo v2, SimSiam), or every step
    c.optimizer.clip_norm = 0.0  # global gradient norm; 0 does not clip
    c.optimizer.clip_each = False  # clip_norm is of each array (DINO), or of all together
    c.optimizer.groups = ConfigDict()  # top-level parameter key -> {scale, schedule, decay, freeze_steps}

    c.train = ConfigDict()
    c.train.epochs = 100  # passes over the training part; each drops its last incomplete batch
    c.train.precision = 'float32'  # activations: float32 or bfloat16; parameters and losses stay float32
    c.train.steps_per_call = 0  # steps per dispatch (lax.scan); 0 is 1 on CPU and 20 elsewhere
    # The network sees the batch in so many pieces, the loss sees it whole: memory of a piece, each encoded twice.
    c.train.microbatches = 1
    c.train.batch_norm_groups = 1  # batch-norm in so many groups of the batch, as on so many devices of other code
    c.train.log_every = 20  # steps between lines of metrics.jsonl
    c.train.stop_after_steps = 0  # end this session (not the run) after so many steps; 0 does not
    c.train.stop_after_minutes = 0.0  # likewise by the clock
    c.train.on_nonfinite = 'stop'  # a loss that is not finite: 'stop' or 'skip' the update

    c.log = ConfigDict()
    c.log.to = ('tensorboard',)  # besides metrics.jsonl: 'tensorboard', 'wandb', 'mlflow', 'trackio'
    c.log.project = 'selfsup'  # under which the last three list the run
    c.log.name = ''  # likewise; '' is the name of the workdir

    c.parallel = ConfigDict()
    c.parallel.shard = 'replicated'  # a copy of the state on each device, or 'fsdp': spread over them
    c.parallel.fsdp_least_bytes = 2**20  # of the arrays that 'fsdp' spreads; smaller ones stay whole

    c.probe = ConfigDict()
    c.probe.learning_rate = 1e-3  # Adam, for the linear probe that learns beside the encoder

    c.monitor = ConfigDict()
    c.monitor.every_epochs = 5  # how often the held-out part is measured
    c.monitor.max_samples = 25600  # images used for it
    c.monitor.measures = ('rankme', 'rankme_features')  # besides the alarm's numbers: selfsup.engine.monitor.MEASURES
    c.monitor.lidar_views = 10  # views of each image, where 'lidar' is among them
    c.monitor.on_collapse = 'warn'  # or 'stop': the alarm was raised twice in a row (selfsup.engine.monitor.raised)
    c.monitor.patience = 0  # end the run after so many measurements without a better checkpoint.best; 0 does not
    # Limits of the alarm on held-out embeddings (selfsup.diagnostics.collapse_alarm).
    c.monitor.least_deviation = 1e-3  # standard deviation
    c.monitor.least_deviation_normalized = 0.1  # that of unit rows, times the root of the width
    c.monitor.most_alignment = 0.9  # squared distance of pairs of views over that of different images
    c.monitor.least_rank = 12.0  # effective rank, or a quarter of what is possible if that is less

    c.checkpoint = ConfigDict()
    c.checkpoint.every_epochs = 10  # how often one is written
    c.checkpoint.keep = 2  # newest ones kept, besides the best
    # The monitor's number by which the best is kept. Not RankMe: it is often highest before anything is
    # learned. 'alignment' (pairs over different images, smaller is better) needs no labels and sees collapse.
    c.checkpoint.best = 'alignment'

    c.evaluate = ConfigDict()
    c.evaluate.batch_size = 512  # images encoded at once
    c.evaluate.neighbours = 20  # of the k-NN vote
    c.evaluate.temperature = 0.07  # of its weights exp(cosine / temperature)
    c.evaluate.label_counts = (1, 10)  # labels per class of the low-label probes
    c.evaluate.label_draws = 5  # random draws averaged for each of them
    c.evaluate.inverse_regularization = 1.0  # C of the logistic regression (scikit-learn's convention)
    return c
