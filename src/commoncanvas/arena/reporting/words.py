"""An arena's report in plain sentences: who won, how sure that is, and what the figures don't say."""

from __future__ import annotations

from commoncanvas.arena.reporting.figures import Basis, Pair, Question, smallest_visible
from commoncanvas.arena.statistics.decisions import ALPHA, LEAST_CLUSTERS, Decision
from commoncanvas.arena.statistics.tables import PEOPLE
from commoncanvas.core.numbers import percent
from commoncanvas.core.text import counted

ASKED = {"preference": "Which image is better?", "alignment": "Which image follows the prompt better?"}
BETTER = {"preference": "is preferred to", "alignment": "follows prompts better than"}


def title(found: Question) -> str:
    """The question, and how many votes it has."""
    parts = ((found.votes, "votes"), (found.prompts, "prompts"), (found.raters, "raters"))
    votes, prompts, raters = (counted(number, things) for number, things in parts)
    return f"{ASKED[found.question]} {votes} on {prompts} by {raters}"


def headline(found: Question) -> str:
    """Who won, and how sure that is, in one sentence."""
    if len(found.pairs) == 1:
        return sentence(found.pairs[0].decision, found.question)
    worse = {_loser(pair.decision) for pair in found.pairs} - {None}
    models = {name for pair in found.pairs for name in (pair.decision.first, pair.decision.second)}
    won = {name: sum(pair.decision.winner == name for pair in found.pairs) for name in models}
    best = next((name for name, count in won.items() if count == len(models) - 1), None)
    sure = f"the chance that a decision is wrong is under {100 * ALPHA:g} %, whenever you look"
    if best is not None:
        return f"{best} won: it {BETTER[found.question]} each of the {len(models) - 1} other models; {sure}."
    order = [rank.model for rank in found.ranks] + sorted(models)
    leaders = [name for name in dict.fromkeys(order) if name not in worse]
    if len(leaders) == len(models):
        return f"No model is first or last yet: not one of {counted(len(found.pairs), 'pairs')} is decided."
    return f"It is not decided who is first: {_listed(leaders)} {'are' if len(leaders) > 1 else 'is'} possible; {sure}."


def sentence(decision: Decision, question: str) -> str:
    """What is known of two models, in one sentence."""
    first, second, rate = decision.first, decision.second, decision.rate
    if rate is None:
        return f"Nothing is known of {first} and {second}: there are no votes on them."
    if rate < 0.5:
        first, second, rate = second, first, 1 - rate
    low, high = decision.low, decision.high
    if first != decision.first:
        low, high = 1 - high, 1 - low
    votes = f"{percent(rate)} of {counted(decision.votes, 'votes')}, ties counted half"
    between = f"between {percent(low)} and {percent(high)}"
    if decision.winner:
        return f"{first} {BETTER[question]} {second}: {votes}; the true share is {between}, however often you looked."
    leads = f"{first} has {votes}" if rate > 0.5 else f"both have {votes}"
    return f"Undecided between {first} and {second}: {leads}, and the true share may be anything {between}."


def limits(found: Question, basis: Basis) -> list[str]:
    """What the figures don't say."""
    said = [
        f"They are about {_about(found, basis)}, prompts like these {found.prompts:,}, and these images: other "
        "settings, sizes or prompts can turn the result.",
        "A share of votes doesn't say how large the differences are that people saw: small ones count like large ones.",
    ]
    widest = max((pair for pair in found.pairs if pair.decision.votes), key=smallest_visible)
    said.append(
        f"Undecided doesn't mean equal. So many votes show differences of about {smallest_visible(widest):.0f} points "
        "or more (of 100 votes, won less lost); commoncanvas arena power says how many votes smaller ones need."
    )
    if basis.scope == PEOPLE:
        said += _too_few(found)
    return said


def _about(found: Question, basis: Basis) -> str:
    raters = counted(found.raters, "raters")
    return f"people like these {raters}" if basis.scope == PEOPLE else f"these {raters} alone"


def _too_few(found: Question) -> list[str]:
    said = []
    for number, things in ((found.raters, "raters"), (found.prompts, "prompts")):
        if number < LEAST_CLUSTERS:
            said.append(
                f"{counted(number, things)} can't stand for others: it takes {LEAST_CLUSTERS} or more until anything "
                "can be decided."
            )
    if found.raters < LEAST_CLUSTERS:
        decided = [pair.among_raters for pair in found.pairs if pair.among_raters.winner]
        said += [f"Among these raters alone: {sentence(each, found.question)}" for each in decided]
    return said


def figures(found: Question, basis: Basis) -> list[str]:
    """Agreement, sides, and what to plan the next arena with."""
    return [agreement_words(found), side_words(found), effect_words(found), left_out_words(basis)]


def agreement_words(found: Question) -> str:
    said = found.agreement
    if said.alpha is None:
        return "Agreement: no two raters saw the same pair of images."
    between = (
        f" ({said.low:.2f} to {said.high:.2f})" if said.low is not None and said.high is not None else ""
    )
    return (
        f"Agreement: Krippendorff's alpha {said.alpha:.2f}{between}, from {counted(said.pairs, 'pairs')} of images "
        "with two or more raters; 1 is full agreement, 0 is chance."
    )


def side_words(found: Question) -> str:
    left = found.left
    if left.rate is None:
        return "Sides: no vote named a winner."
    prefers = "" if left.low <= 0.5 <= left.high else "; people prefer a side, which random sides make fair"
    return f"Sides: the left image won {percent(left.rate)} ({percent(left.low)} to {percent(left.high)}){prefers}."


def effect_words(found: Question) -> str:
    effects = found.effects
    parts = [
        f"{name} explain {'an unknown part' if share is None else percent(share)}"
        for name, share in (("prompts", effects.prompts), ("raters", effects.raters))
    ]
    return f"Ties: {percent(effects.ties)}. Of the variance of votes, {parts[0]}, {parts[1]}."


def left_out_words(basis: Basis) -> str:
    fixed = "fixed when the arena was built" if basis.rule_stored else "the default; the arena stores none"
    shown = {"real": "a real image", "model": "an image of one of the models"}.get(basis.against)
    against = f" Checks against noise showed {shown}." if shown else ""
    raters = counted(len(basis.raters), "raters")
    return f"Left out: {len(basis.left_out):,} of {raters}. Rule: {basis.rule} ({fixed}).{against}"


def fixed_words(pair: Pair) -> str:
    """The interval for votes that were fixed beforehand."""
    rate = pair.win_rate
    return "—" if rate.rate is None else f"{percent(rate.low)} to {percent(rate.high)}"


def _loser(decision: Decision) -> str | None:
    if decision.winner is None:
        return None
    return decision.second if decision.winner == decision.first else decision.first


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
