"""Faults of structure, purity, precision and symmetry."""

from tests.laws.fault import Fault

STRUCTURE = (
    Fault("sgd", "computes_with_numpy", "NumPy takes no traced gradient", "runs"),
    Fault(
        "adam", "init_reads_values", "init looks at values, so no abstract init; Optax's sharding_test", "init_is_pure"
    ),
    Fault("adam", "init_counts_its_calls", "A second init starts with a state used before", "init_is_pure"),
    Fault(
        "momentum",
        "keeps_the_parameters",
        "The state holds params themselves, as slow weights; optax 1059",
        "no_aliasing",
    ),
    Fault("adam", "one_buffer_for_two", "m and v start as one buffer: no donation; optax 1059", "no_aliasing"),
    Fault("momentum", "tuples_taken_for_leaves", "Containers of the params are taken for results", "structure_kept"),
    Fault("sgd", "lists_for_trees", "Updates come as a list of leaves", "structure_kept"),
    Fault("adam", "empty_leaves_dropped", "A leaf (0, 2) without elements loses its shape", "structure_kept"),
    Fault("sgd", "scalars_become_vectors", "A scalar has an update of shape (1,)", "structure_kept"),
    Fault("sgd", "updates_in_float32", "bfloat16 params have float32 updates; optax 377", "dtype_kept"),
    Fault("adam", "updates_in_the_gradients_dtype", "Updates have the gradient's dtype", "other_gradient_dtype"),
    Fault("sgd", "rate_of_another_dtype", "A rate np.float32 widens bfloat16 updates; optax 1405", "rate_types"),
    Fault(
        "adam", "slots_take_the_gradients_dtype", "scan refuses the changed state; optax 1552", "state_is_a_fixed_point"
    ),
    Fault(
        "momentum",
        "slots_start_in_half",
        "v starts in float16 and goes on in float32: no donation, a second compilation",
        "donation_is_used state_is_a_fixed_point",
    ),
    Fault("momentum", "table_in_the_state", "A table of 1,000 numbers in every state", "memory"),
    Fault("adam", "integers_taken", "Integers are trained, and stay by truncation; optax 333", "integers_are_refused"),
    Fault("momentum", "broadcasts", "A gradient (1,) broadcasts to (3,)", "shapes_are_not_broadcast"),
    Fault("adam", "zeros_of_a_shape", "Slots are made from a shape, on one device; flax 5172", "sharding_kept"),
)
PURITY = (
    Fault(
        "adam",
        "counts_in_a_closure",
        "The step is counted in Python: a compiled update stays at its first step",
        "deterministic chain_is_associative scan_is_loop accumulation",
    ),
    Fault("sgd", "noise", "Noise from NumPy's global generator: another run, another update", "deterministic"),
    Fault("sgd", "updates_in_place", "-lr g is written into g; pytorch 12218 writes the decay", "inputs_untouched"),
    Fault("adam", "keeps_a_tracer", "The step is kept in a list outside", "no_tracer_leaks"),
    Fault("adam", "count_is_a_python_int", "A Python int as counter", "one_trace"),
    Fault("adam", "count_is_weak", "A weakly typed counter compiles anew once restored; optax 329", "one_trace"),
    Fault("sgd", "clips_without_jit", "Clips where the values are known, that is without jit", "jit_is_eager"),
    Fault("sgd", "calls_back", "A host callback, which vmap and grad refuse", "vmap_is_loop differentiable"),
    Fault("sgd", "rate_by_float", "float(learning_rate) refuses a traced rate", "vmap_over_learning_rate"),
    Fault("adam", "truth_of_the_decay", "`if not weight_decay` refuses a traced one", "traced_is_closed_over"),
    Fault("momentum", "state_of_a_local_class", "The state's class is local: no pickle", "survives_serialization"),
)
PRECISE = (
    Fault("rmsprop", "no_eps", "0 / 0 at a zero gradient; pylearn2 1496", "zero_gradient_is_finite"),
    Fault(
        "adam",
        "computes_in_the_parameters_dtype",
        "eps is 0 in float16: NaN at a zero gradient; optax 1754, 1784, 1789",
        "zero_gradient_is_finite accumulators_are_wide",
    ),
    Fault("rmsprop", "eps_is_added_to_g", "A zero gradient moves a weight", "zero_gradient_rests odd"),
    Fault("adam", "half_accumulators", "m overflows in float16: inf / inf", "updates_are_finite extremes_are_survived"),
    Fault(
        "adam", "narrow_accumulators", "m and v in bfloat16 lose what is small; nntrainer 3565", "accumulators_are_wide"
    ),
    Fault("momentum", "narrow_accumulators", "v in bfloat16 loses what is small", "accumulators_are_wide"),
    Fault("adam", "squares_overflow", "g^2 = inf freezes its weight for good", "extremes_are_survived"),
    Fault("adam", "count_wraps", "The counter wraps to -2^31, and b^t is infinite", "counters_saturate"),
    Fault("adam", "count_is_int8", "The counter stops at 127", "counters_saturate"),
    Fault("adam", "count_is_of_the_default_int", "The counter is int64 where JAX has 64 bits", "counters_saturate"),
    Fault(
        "adam", "correction_cancels", "1 - b^t cancels in float32 from step 2 on; optax 0.2.8", "float32_first_steps"
    ),
    Fault("adam", "count_is_int16", "The counter stops at 32,767", "counters_saturate"),
    Fault(
        "adam",
        "v_in_bfloat16",
        "v is rounded to bfloat16 for float32 params",
        "float32_first_steps float32_stays_right",
    ),
    Fault("rmsprop", "stores_the_root", "The root is stored: no derivative at 0", "differentiable_at_zero"),
    Fault(
        "rmsprop",
        "mean_of_squares_less_square",
        "The centered variance as a difference is negative under a constant gradient; optax.rmsprop",
        "centered_variance",
    ),
    Fault("sgd", "halves_in_a_loop", "Large gradients are halved in a while loop", "differentiable isolation"),
    Fault("adam", "plain_root", "sqrt has no derivative at 0; optax 882", "differentiable_at_zero"),
    Fault("sgd", "rate_without_derivative", "stop_gradient on the rate", "rate_derivative"),
)
SYMMETRY = (
    Fault("adam", "m_of_sizes", "m averages |g|", "odd"),
    Fault("adam", "v_of_sizes", "v averages |g| in place of g^2", "gradient_scale_invariant first_step"),
    Fault("sgd", "clips_at_one", "A clip of each number at 1", "gradient_scale_linear"),
    Fault("sgd", "clips_by_the_norm_of_all", "A clip by the norm of all leaves", "isolation gradient_scale_linear"),
    Fault("momentum", "centralizes", "The mean of its leaf is taken from g", "split_leaves isolation"),
    Fault("adam", "norm_of_the_leaf", "g is divided by the norm of its leaf", "split_leaves isolation"),
    Fault("adam", "nan_spreads", "A NaN reaches its whole leaf", "isolation"),
    Fault("sgd", "first_row_is_padding", "The first row of each leaf is taken for padding", "permutation"),
    Fault("adam", "one_count_for_all_leaves", "The counter moves with each leaf", "split_leaves"),
    Fault("adam", "decay_of_matrices_alone", "Vectors do not decay", "split_leaves", {"weight_decay": 0.1}),
    Fault("adam", "complex_square", "g g in place of |g|^2; pytorch 59998, tf 38541, optax 196", "complex_parameters"),
    Fault(
        "guarded",
        "guard_moves_the_counter",
        "A skipped step is counted; optax 1746",
        "guard",
        traits={"elementwise": False},
    ),
    Fault(
        "guarded",
        "guard_decays_the_moments",
        "A skipped step is taken for a zero gradient; levanter 973",
        "guard",
        traits={"elementwise": False},
    ),
)
