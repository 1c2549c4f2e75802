"""Laws of purity and equivalence: the same numbers however a rule is run."""

import io
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.laws.cases import Case, example, tame, wild
from fnn.laws.compare import close, same
from fnn.laws.probes import Counted, copied, is_key, stacked, to_numpy
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.transform.rule import Built, Rule
from fnn.laws.transform.structure import precision


@law()
def deterministic(rule: Rule) -> None:
    """The same inputs give the same updates to the bit, whatever ran before."""
    case = example()
    first = rule.standard.run(case.params, case.gradients, eager=True).updates
    same(rule.standard.run(case.params, case.gradients, eager=True).updates, first, "the second run", "the first")


@law()
def inputs_untouched(rule: Rule) -> None:
    """Parameters, gradients and state may come as NumPy arrays, and are the same afterwards."""
    case = example()
    state = to_numpy(rule.standard.run(case.params, case.gradients[:1]).states[-1])
    given = (case.gradients[1], state, case.params)
    before = jax.tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, given)
    rule.standard.update(*given)
    same(given, before, "an input after the update", "before")


@law()
def no_tracer_leaks(rule: Rule) -> None:
    """No tracer outlives a trace: the rule runs under jax.checking_leaks, and then without jit."""
    case = example()
    built = Built(rule.standard.tx, rule.extra)
    with jax.checking_leaks():
        built.compiled.trace(case.gradients[0], built.init(case.params), case.params)
    built.run(case.params, case.gradients[:2], eager=True)


@law()
def one_trace(rule: Rule) -> None:
    """A fresh state, a stepped one and one restored from NumPy arrays share one compiled program."""
    case, traced = example(), Counted(rule.standard.update)
    compiled = jax.jit(traced)
    params, gradients = copied(case.params), copied(case.gradients)
    state = rule.standard.init(params)
    for g in gradients:
        _, state = compiled(g, state, params)
    compiled(gradients[0], to_numpy(state), params)
    if traced.calls > 1:
        raise Broken(f"{traced.calls} traces for one shape")


@law(over=wild)
def jit_is_eager(rule: Rule, case: Case) -> None:
    """Compiled or not, the updates are the same up to rounding: 2e-6 in float32, 1e-14 in float64."""
    for dtype, tolerance in (("float32", 2e-6), ("float64", 1e-14)):
        with precision(dtype):
            typed = case.of(dtype)
            compiled = rule.standard.run(typed.params, typed.gradients).updates
            eager = rule.standard.run(typed.params, typed.gradients, eager=True).updates
            close(compiled, eager, tolerance, f"the compiled update in {dtype}", "eager", beside=case.params)


@law(over=tame)
def scan_is_loop(rule: Rule, case: Case) -> None:
    """Inside scan the updates are those of a loop, up to rounding."""
    gradients = (case.gradients * 3)[:3]
    _, scanned = rule.standard.scan(case.params, stacked(gradients))
    looped = rule.standard.run(case.params, gradients).updates
    close(scanned, stacked(looped), 2e-6, "in scan", "in a loop", beside=case.params)


@law()
def vmap_is_loop(rule: Rule) -> None:
    """Under vmap over parameters and gradients the updates are those of a loop, up to rounding."""
    rows = [example().of("float32").times(factor) for factor in (1.0, -0.5, 3.0)]
    built = rule.standard

    def two_updates(params: Any, gradients: Any) -> Any:
        first, state = built.update(gradients[0], built.init(params), params)
        return first, built.update(gradients[1], state, params)[0]

    inputs = stacked([(row.params, row.gradients[:2]) for row in rows])
    together = jax.jit(jax.vmap(two_updates))(*inputs)
    alone = [tuple(built.run(row.params, row.gradients[:2]).updates) for row in rows]
    close(together, stacked(alone), 2e-6, "under vmap", "alone", beside=inputs)


@law("learning_rate")
def vmap_over_learning_rate(rule: Rule) -> None:
    """The factory may be called with a traced learning rate, and vmapped over many."""
    case, rates = example(), jnp.array([0.0, 0.5, 2.0]) * rule.rate

    def update(rate: Any) -> Any:
        built = rule.built(learning_rate=rate)
        return built.update(case.gradients[0], built.init(case.params), case.params)[0]

    together = jax.jit(jax.vmap(update))(rates)
    for i, rate in enumerate(rates.tolist()):
        alone = rule.built(learning_rate=rate).run(case.params, case.gradients[:1]).updates[0]
        row = jax.tree.map(lambda x, i=i: x[i], together)
        close(row, alone, 2e-6, f"with the traced rate {rate:g}", "with the number", beside=case.params)


@law("numbers")
def traced_is_closed_over(rule: Rule) -> str:
    """Every float of the factory may be a traced array, and gives the updates of the plain number."""
    case = example()
    numbers = {n: jnp.float32(v) for n, v in rule.hyperparams.items()}

    def updates(name: str, x: Any) -> Any:
        try:
            built = rule.built(**{name: x})
            state, out = built.init(case.params), []
            for g in case.gradients:
                u, state = built.update(g, state, case.params)
                out.append(u)
            return out
        except Exception as error:
            raise Broken(f"a traced {name} raises {type(error).__name__}") from error

    plain = rule.standard.run(case.params, case.gradients).updates
    # One program: the rest, which is the same for all, is compiled once.
    traced = jax.jit(lambda numbers: {name: updates(name, x) for name, x in numbers.items()})(numbers)
    for name in numbers:
        close(traced[name], plain, 1e-5, f"with a traced {name}", "with the number", beside=case.params)
    return ", ".join(numbers)


@law()
def survives_serialization(rule: Rule) -> None:
    """A state saved to npz or pickled, and restored, goes on as if nothing had been, to the bit."""
    case = example(steps=4)
    path = rule.standard.run(case.params, case.gradients)
    leaves, treedef = jax.tree.flatten(path.states[2])
    keys = [is_key(x) for x in leaves]
    file = io.BytesIO()
    np.savez(file, *[np.asarray(jax.random.key_data(x) if key else x) for x, key in zip(leaves, keys, strict=True)])
    file.seek(0)
    restored = [jnp.asarray(x) for x in np.load(file).values()]
    restored = [jax.random.wrap_key_data(x) if key else x for x, key in zip(restored, keys, strict=True)]
    again = rule.standard.run(case.params, case.gradients[2:], state=treedef.unflatten(restored))
    same(again.updates, path.updates[2:], "after npz", "uninterrupted")
    if not any(keys):  # JAX does not pickle typed keys
        state = pickle.loads(pickle.dumps(path.states[2]))
        again = rule.standard.run(case.params, case.gradients[2:], state=state)
        same(again.updates, path.updates[2:], "after pickle", "uninterrupted")


@law()
def chain_is_associative(rule: Rule) -> None:
    """In optax.chain brackets do not matter, and optax.identity changes nothing, to the bit."""
    case, tx = example(), rule.standard.tx
    double, clip = optax.scale(2.0), optax.clip(1e-3)

    def updates(tx: Any) -> Any:
        return Built(tx, rule.extra).run(case.params, case.gradients[:2], eager=True).updates

    plain = updates(tx)
    same(updates(optax.chain(optax.identity(), tx, optax.identity())), plain, "between identities", "alone")
    left = updates(optax.chain(optax.chain(tx, double), clip))
    same(left, updates(optax.chain(tx, optax.chain(double, clip))), "(a b) c", "a (b c)")


@law()
def accumulation(rule: Rule) -> None:
    """Micro-batches gathered by optax.MultiSteps give the update of the whole batch."""
    if rule.extra:
        raise DoesNotApply("optax.MultiSteps passes no further arguments on")
    case = example(steps=4)
    multi: Any = optax.MultiSteps(rule.standard.tx, every_k_schedule=2)
    built = Built(multi.gradient_transformation(), rule.extra)
    pieces = built.run(case.params, case.gradients).updates
    means = [jax.tree.map(lambda a, b: (a + b) / 2, *case.gradients[i : i + 2]) for i in (0, 2)]
    whole = rule.standard.run(case.params, means).updates
    close([pieces[1], pieces[3]], whole, 2e-6, "from micro-batches", "from the whole batch", beside=case.params)


LAWS: tuple[Law, ...] = (
    deterministic,
    inputs_untouched,
    no_tracer_leaks,
    one_trace,
    jit_is_eager,
    scan_is_loop,
    vmap_is_loop,
    vmap_over_learning_rate,
    traced_is_closed_over,
    survives_serialization,
    chain_is_associative,
    accumulation,
)
