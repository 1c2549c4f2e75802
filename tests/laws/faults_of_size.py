"""Faults of learning rates, weight decay and of the rules themselves."""

from tests.laws.fault import Fault

_DECAY = {"weight_decay": 0.1}
RATES = (
    Fault("sgd", "rate_squared", "lr is multiplied twice", "rate_linear first_step"),
    Fault("adam", "schedule_used_twice", "A schedule's rate is multiplied twice", "schedule_is_used rate_types"),
    Fault("adam", "schedule_ahead", "Step t asks for schedule(t + 1); optax 1744", "schedule_from_zero"),
    Fault("sgd", "rate_in_float32", "The rate is float32 for float64 params too", "first_step"),
    Fault("sgd", "schedule_read_once", "The schedule is asked when built, never again", "schedule_is_used"),
    Fault("adam", "rate_in_float32", "The rate is float32 for float64 params", "follows_its_convention", {}, "paper"),
    Fault("adam", "decay_without_the_rate", "Decay is not times lr", "decoupled_decay", _DECAY, "paper"),
    Fault("sgd", "decay_without_the_rate", "Decay is not times lr, and no convention is claimed", "rate_linear"),
    Fault("adam", "decay_with_the_rate_twice", "Decay is times lr^2", "decoupled_decay", _DECAY, "paper"),
    Fault("adam", "decay_halved", "Decay of half the strength, as of w^2 / 2", "decoupled_decay", _DECAY, "paper"),
    Fault("adam", "decay_twice", "Decay is taken twice", "decoupled_decay", _DECAY, "paper"),
    Fault("adam", "decay_grows", "Decay of the wrong sign", "decoupled_decay", _DECAY, "paper"),
    Fault(
        "adam",
        "decay_after_the_step",
        "Params decay after the step; bitsandbytes 2010",
        "follows_its_convention",
        _DECAY,
        "paper",
    ),
    Fault("adam", "decay_ignores_the_schedule", "Decay at the first rate", "follows_its_convention", _DECAY, "paper"),
    Fault(
        "adam",
        "decay_through_the_gradient",
        "L2 by the name of AdamW; nntrainer 3565",
        "follows_its_convention",
        _DECAY,
        "paper",
    ),
    Fault("adam", "hidden_decay", "A little decay though weight_decay is 0", "no_decay"),
    Fault("momentum", "zero_beta_is_unset", "`beta or 0.9` takes 0 for none", "degenerate"),
)
MOMENTUM = (
    Fault(
        "momentum", "average_forgotten", "(1 - beta) forgotten", "follows_its_convention", {"average": True}, "lecture"
    ),
    Fault("momentum", "average_twice", "(1 - beta) twice", "constant_gradient", {"average": True}),
    Fault("momentum", "nesterov_twice", "Two look-aheads", "follows_its_convention", {"nesterov": True}, "optax"),
    Fault(
        "momentum",
        "nesterov_left_out",
        "nesterov=True does nothing",
        "follows_its_convention",
        {"nesterov": True},
        "optax",
    ),
    Fault(
        "momentum",
        "dampens_the_first_step",
        "Dampening at step 1",
        "follows_its_convention",
        {"dampening": 0.5},
        "torch",
    ),
    Fault("momentum", "velocity_of_yesterday", "The step is that of the velocity before", "degenerate"),
    Fault("momentum", "velocity_forgets", "v is assigned, not added to", "constant_gradient"),
    Fault("momentum", "velocity_never_decays", "v is not times beta", "constant_gradient"),
    Fault("momentum", "ascends", "The step has g's sign", "degenerate minimizes_a_quadratic"),
    Fault("sgd", "ascends", "The step has g's sign", "minimizes_logistic_regression first_step"),
)
RMSPROP = (
    Fault("rmsprop", "no_square", "v averages g", "odd gradient_scale_invariant"),
    Fault("rmsprop", "divides_by_yesterday", "v before this gradient divides", "first_step"),
    Fault("rmsprop", "no_root", "g is divided by v", "first_step gradient_scale_invariant"),
    Fault("rmsprop", "eps_inside", "eps inside the root; tf 9047, 35102", "follows_its_convention", {}, "torch"),
    Fault("rmsprop", "centered_by_m", "m in place of m^2", "centered_variance"),
    Fault(
        "rmsprop", "velocity_left_out", "momentum does nothing", "follows_its_convention", {"momentum": 0.9}, "torch"
    ),
)
ADAGRAD = (
    Fault("adagrad", "sum_decays", "The sum decays, as RMSProp's", "adagrad_bounds constant_gradient"),
    Fault("adagrad", "assigns_the_sum", "The sum is assigned, not added to", "adagrad_bounds"),
    Fault("adagrad", "mean_for_the_sum", "The mean in place of the sum", "adagrad_bounds"),
    Fault("adagrad", "sum_of_sizes", "The sum of |g|", "first_step gradient_scale_invariant"),
    Fault("adagrad", "sum_grows_twice", "g^2 is added twice", "first_step"),
    Fault("adagrad", "sum_after_the_step", "The sum before this gradient divides", "adagrad_bounds first_step"),
)
ADAM = (
    Fault("adam", "no_correction_of_m", "m is not corrected", "first_step"),
    Fault("adam", "no_correction_of_v", "v is not corrected", "first_step step_bound"),
    Fault("adam", "no_correction", "No bias correction", "first_step"),
    Fault("adam", "correction_ahead", "Corrections of step t + 1; nanochat 818", "first_step"),
    Fault("adam", "correction_behind", "Corrections of step t - 1: 0 / 0 at first", "updates_are_finite first_step"),
    Fault("adam", "corrections_swapped", "Each moment has the other's correction", "first_step"),
    Fault("adam", "correction_of_the_root", "v's correction squared", "first_step"),
    Fault("adam", "betas_swapped", "b1 and b2 swapped", "follows_its_convention", {}, "paper"),
    Fault("adam", "one_beta_for_both", "v decays by b1", "first_step"),
    Fault("adam", "share_of_g_forgotten", "(1 - b1) forgotten", "first_step"),
    Fault("adam", "share_of_square_forgotten", "(1 - b2) forgotten", "first_step"),
    Fault("adam", "share_of_g_twice", "(1 - b1) twice", "first_step"),
    Fault("adam", "v_of_m", "v averages m^2", "first_step"),
    Fault("adam", "no_root", "m is divided by v", "first_step gradient_scale_invariant"),
    Fault("adam", "eps_of_a_hundredth", "eps = 0.01", "follows_its_convention", {}, "paper"),
    Fault(
        "adam", "eps_hat", "eps beside the root of v before correction; tf 9047", "follows_its_convention", {}, "paper"
    ),
    Fault(
        "adam", "amsgrad_left_out", "amsgrad=True does nothing", "follows_its_convention", {"amsgrad": True}, "optax"
    ),
    Fault(
        "adam",
        "largest_of_the_wrong",
        "v, not the largest, is kept",
        "follows_its_convention",
        {"amsgrad": True},
        "optax",
    ),
    Fault("adam", "largest_always", "The largest v always, as if amsgrad=True", "counterexample_of_reddi"),
)
