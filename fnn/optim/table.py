"""The table of conventions: how each source defines each rule.

Equations are assignments that are carried out from top to bottom, from zeros unless they say `from`; a space
is a product. A line with a prefix, such as `nesterov:`, is there with that option alone, and takes the place
of a line without prefix that assigns the same name. A test reads and computes them.
"""

from fnn.optim.formula import Convention

# What conventions of a rule share.
_RATE_INSIDE_V = ("v <- beta v - lr g", "w <- w + v", "nesterov: w <- w + beta v - lr g")
_MEAN_SQUARE = (
    "v <- decay v + (1 - decay) g^2, from initial_accumulator",
    "centered: m <- decay m + (1 - decay) g, and v - m^2 in place of v below",
)
_SUM_OF_SQUARES = "G <- G + g^2, from initial_accumulator"
_DECAY_AND_AVERAGES = (
    "decoupled: w <- w - lr weight_decay w",
    "coupled: g <- g + weight_decay w",
    "m <- b1 m + (1 - b1) g",
    "v <- b2 v + (1 - b2) g^2",
)

TABLE: tuple[Convention, ...] = (
    Convention(
        name="lecture",
        rule="momentum",
        equations=(
            "v <- beta v + (1 - beta) g",
            "w <- w - lr v",
            "nesterov: w <- w - lr (beta v + (1 - beta) g)",
        ),
        defaults={},
        choices={"average": True, "rate_inside": False},
        source="the lecture; an exponential moving average of the gradient",
    ),
    Convention(
        name="paper",
        rule="momentum",
        equations=_RATE_INSIDE_V,
        defaults={},
        choices={"average": False, "rate_inside": True},
        source="Sutskever et al. 2013, equations 1 to 4 (Nesterov's at the look-ahead point, Bengio et al. 2013)",
    ),
    Convention(
        name="optax",
        rule="momentum",
        equations=("v <- beta v + g", "w <- w - lr v", "nesterov: w <- w - lr (beta v + g)"),
        defaults={},
        choices={"average": False, "rate_inside": False},
        source="optax.sgd, optax.trace",
    ),
    Convention(
        name="torch",
        rule="momentum",
        equations=(
            "v <- beta v + (1 - dampening) g, but g at t = 1",
            "w <- w - lr v",
            "nesterov: w <- w - lr (beta v + g)",
        ),
        defaults={"dampening": 0.0},
        choices={"average": False, "rate_inside": False},
        source="torch.optim.SGD",
    ),
    Convention(
        name="keras",
        rule="momentum",
        equations=_RATE_INSIDE_V,
        defaults={},
        choices={"average": False, "rate_inside": True},
        source="keras.optimizers.SGD",
    ),
    Convention(
        name="paper",
        rule="rmsprop",
        equations=(*_MEAN_SQUARE, "u <- momentum u + lr g / (sqrt(v) + eps)", "w <- w - u"),
        defaults={"decay": 0.9, "eps": 1e-8, "initial_accumulator": 0.0},
        choices={"eps_inside": False, "rate_inside": True},
        source="Tieleman and Hinton 2012, lecture 6.5; centered and momentum: Graves 2013, equations 38 to 45",
    ),
    Convention(
        name="optax",
        rule="rmsprop",
        equations=(*_MEAN_SQUARE, "u <- momentum u + lr g / sqrt(v + eps)", "w <- w - u"),
        defaults={"decay": 0.9, "eps": 1e-8, "initial_accumulator": 0.0},
        choices={"eps_inside": True, "rate_inside": True},
        source="optax.rmsprop",
    ),
    Convention(
        name="torch",
        rule="rmsprop",
        equations=(*_MEAN_SQUARE, "u <- momentum u + g / (sqrt(v) + eps)", "w <- w - lr u"),
        defaults={"decay": 0.99, "eps": 1e-8, "initial_accumulator": 0.0},
        choices={"eps_inside": False, "rate_inside": False},
        source="torch.optim.RMSprop, where decay is called alpha",
    ),
    Convention(
        name="keras",
        rule="rmsprop",
        equations=(*_MEAN_SQUARE, "u <- momentum u + lr g / sqrt(v + eps)", "w <- w - u"),
        defaults={"decay": 0.9, "eps": 1e-7, "initial_accumulator": 0.0},
        choices={"eps_inside": True, "rate_inside": True},
        source="keras.optimizers.RMSprop, where decay is called rho",
    ),
    Convention(
        name="tf1",
        rule="rmsprop",
        equations=(*_MEAN_SQUARE, "u <- momentum u + lr g / sqrt(v + eps)", "w <- w - u"),
        defaults={"decay": 0.9, "eps": 1e-10, "initial_accumulator": 1.0},
        choices={"eps_inside": True, "rate_inside": True},
        source="tf.compat.v1.train.RMSPropOptimizer",
    ),
    Convention(
        name="paper",
        rule="adagrad",
        equations=(_SUM_OF_SQUARES, "w <- w - lr g / (sqrt(G) + eps)"),
        defaults={"eps": 1e-8, "initial_accumulator": 0.0},
        choices={"eps_inside": False},
        source="Duchi et al. 2011, section 1.2, diagonal form",
    ),
    Convention(
        name="optax",
        rule="adagrad",
        equations=(_SUM_OF_SQUARES, "w <- w - lr g / sqrt(G + eps)"),
        defaults={"eps": 1e-7, "initial_accumulator": 0.1},
        choices={"eps_inside": True},
        source="optax.adagrad",
    ),
    Convention(
        name="torch",
        rule="adagrad",
        equations=(
            _SUM_OF_SQUARES,
            "w <- w - lr / (1 + (t - 1) lr_decay) g / (sqrt(G) + eps)",
        ),
        defaults={"eps": 1e-10, "initial_accumulator": 0.0, "lr_decay": 0.0},
        choices={"eps_inside": False},
        source="torch.optim.Adagrad",
    ),
    Convention(
        name="keras",
        rule="adagrad",
        equations=(_SUM_OF_SQUARES, "w <- w - lr g / sqrt(G + eps)"),
        defaults={"eps": 1e-7, "initial_accumulator": 0.1},
        choices={"eps_inside": True},
        source="keras.optimizers.Adagrad",
    ),
    Convention(
        name="paper",
        rule="adam",
        equations=(
            *_DECAY_AND_AVERAGES,
            "w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)",
            "amsgrad: v_max <- max(v_max, v)",
            "amsgrad: w <- w - lr m / (sqrt(v_max) + eps)",
        ),
        defaults={"eps": 1e-8, "decoupled": True},
        choices={"eps_hat": False, "amsgrad_corrected": False, "max_of_corrected": False},
        source="Kingma and Ba 2015, algorithm 1; the decay: Loshchilov and Hutter 2019, algorithm 2; amsgrad: "
        "Reddi et al. 2018, algorithm 2",
    ),
    Convention(
        name="optax",
        rule="adam",
        equations=(
            *_DECAY_AND_AVERAGES,
            "w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)",
            "amsgrad: v_max <- max(v_max, v / (1 - b2^t))",
            "amsgrad: w <- w - lr (m / (1 - b1^t)) / (sqrt(v_max) + eps)",
        ),
        defaults={"eps": 1e-8, "decoupled": True},
        choices={"eps_hat": False, "amsgrad_corrected": True, "max_of_corrected": True},
        source="optax.adam, optax.adamw, optax.amsgrad",
    ),
    Convention(
        name="torch",
        rule="adam",
        equations=(
            *_DECAY_AND_AVERAGES,
            "amsgrad: v_max <- max(v_max, v), and v_max in place of v below",
            "w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)",
        ),
        defaults={"eps": 1e-8, "decoupled": False},
        choices={"eps_hat": False, "amsgrad_corrected": True, "max_of_corrected": False},
        source="torch.optim.Adam; decoupled: torch.optim.AdamW",
    ),
    Convention(
        name="keras",
        rule="adam",
        equations=(
            *_DECAY_AND_AVERAGES,
            "amsgrad: v_max <- max(v_max, v), and v_max in place of v below",
            "w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)",
        ),
        defaults={"eps": 1e-7, "decoupled": True},
        choices={"eps_hat": True, "amsgrad_corrected": True, "max_of_corrected": False},
        source="keras.optimizers.Adam",
    ),
)
