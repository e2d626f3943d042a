"""docs/grafana-dashboard.json, as Grafana reads it.

Grafana passes over what it does not know, so a misspelt option shows nowhere. The dashboard goes through Grafana's own model
(grafana-foundation-sdk, generated from Grafana's schema) and must come out whole, with values of the types that the model names.
Each expression must be PromQL, types included.
"""

import copy
import enum
import json
import pathlib
import re
import types
import typing
import unittest

import promql_parser
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard, prometheus

DASHBOARD = pathlib.Path(__file__).parent.parent / "docs" / "grafana-dashboard.json"
# Grafana's own variables, with a value that Grafana might put there.
BUILT_IN = {"__rate_interval": "1m0s", "__interval": "15s", "__range": "3h"}

register_default_plugins()


def lost(before, after, path):
    """What is in `before` and not in `after`. The model may add its defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{path}.{key}: Grafana knows no such key"
            else:
                yield from lost(value, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} becomes {after!r}"


def through_the_model(model, data, path):
    """What a part of the dashboard loses in Grafana's model, and which of its values have another type than there."""
    try:
        read = model.from_json(data)
        written = json.loads(JSONEncoder().encode(read))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        yield f"{path}: no {model.__name__}: {error!r}"
        return
    yield from lost(data, written, path)
    yield from mistyped(read, model, path)


def mistyped(value, hint, path):
    """Which values have another type than the model's annotations say: the model itself takes anything."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        found = [list(mistyped(value, alternative, path)) for alternative in arguments]
        # If it is none of the alternatives, what is wrong with the one that fits the furthest into it.
        if all(found):
            yield from max(found, key=lambda problems: len(problems[0].partition(": ")[0]))
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is none of {arguments}"
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from mistyped(item, arguments[0], f"{path}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from mistyped(item, arguments[1], f"{path}.{key}")
    elif hint is typing.Any or hint is object and not hasattr(value, "from_json"):
        return
    elif isinstance(hint, type) and isinstance(value, dict) and hasattr(hint, "from_json"):
        # Some parts stay as they are when the whole is read.
        yield from through_the_model(hint, value, path)
    elif hasattr(value, "from_json") and isinstance(value, origin or hint):
        for name, of_member in typing.get_type_hints(type(value)).items():
            yield from mistyped(getattr(value, name), of_member, f"{path}.{name}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [member.value for member in hint]:
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif not fits(value, origin or hint):
        yield f"{path}: {value!r} is no {getattr(hint, '__name__', hint)}"


def fits(value, kind):
    """In Python a bool is an int, and an int no float."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) or kind is float and isinstance(value, int)


def used(text, variables):
    """The variables of a text, as `$name` or `${name}`, that nobody defines."""
    names = re.findall(r"\$\{?(\w+)", text)
    return [f"no variable is named {name}" for name in names if name not in variables]


def of_panels(data):
    """What is wrong with the panels beside their form."""
    variables = {variable["name"]: ".+" for variable in data["templating"]["list"]} | BUILT_IN
    for variable in data["templating"]["list"]:
        asked = json.dumps([variable["query"], variable.get("datasource")])
        yield from (f"{variable['name']}: {problem}" for problem in used(asked, variables))
    ids = [panel["id"] for panel in data["panels"]]
    yield from (f"panels: several have the id {one}" for one in sorted(set(ids)) if ids.count(one) > 1)
    for panel in data["panels"]:
        yield from (f"{panel['title']}: {problem}" for problem in of_panel(panel, variables))


def of_panel(panel, variables):
    yield from used(json.dumps(panel), variables)
    targets = panel.get("targets", [])
    if not targets and panel["type"] != "row":
        yield "nothing to show"
    if len({target["refId"] for target in targets}) < len(targets):
        yield "a refId comes twice"
    for target in targets:
        expression = re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], match[0]), target["expr"])
        try:
            promql_parser.parse(expression)
        except ValueError as error:
            yield f"{target['expr']}: {error}"


def problems(data):
    found = list(through_the_model(dashboard.Dashboard, data, "dashboard"))
    # What the model has no types for, it takes as it is.
    for panel in dashboard.Dashboard.from_json(data).panels or []:
        if isinstance(panel, dashboard.Panel):
            if isinstance(panel.options, dict):
                found.append(f"{panel.title}: no type of panel: {panel.type_val}")
            if not all(isinstance(target, prometheus.Dataquery) for target in panel.targets or []):
                found.append(f"{panel.title}: a query of something else than Prometheus")
    return found + list(of_panels(data))


class Dashboard(unittest.TestCase):
    data = json.loads(DASHBOARD.read_text())

    def test_grafana_reads_all_of_it(self):
        self.assertEqual(problems(self.data), [])

    def test_what_is_wrong_is_found(self):
        def panel(data):
            return data["panels"][0]

        for change, said in [
            (lambda data: data.update(refrehs="30s"), "refrehs: Grafana knows no such key"),
            (lambda data: data["time"].update(since="now"), "time.since: Grafana knows no such key"),
            (lambda data: data.update(schemaVersion="39"), "'39' is no int"),
            (lambda data: data["templating"]["list"][1].update(sort=99), "99 is no VariableSort"),
            (lambda data: data["templating"]["list"][1].update(type="qurey"), "'qurey' is no VariableType"),
            (lambda data: data["templating"]["list"][1].update(name="jobs"), "no variable is named job"),
            (lambda data: data["templating"]["list"][0].update(name="source"), "job: no variable is named datasource"),
            (lambda data: panel(data).update(titel="x"), "titel: Grafana knows no such key"),
            (lambda data: panel(data).update(type="timeserie"), "no type of panel: timeserie"),
            (lambda data: panel(data).update(id=2), "several have the id 2"),
            (lambda data: panel(data)["gridPos"].update(w="12"), "'12' is no int"),
            (lambda data: panel(data)["options"]["legend"].update(displayMode="lists"), "'lists' is no LegendDisplayMode"),
            (lambda data: panel(data)["options"]["legend"].update(calc=[]), "calc: Grafana knows no such key"),
            (lambda data: panel(data)["options"]["tooltip"].update(mode=1), "1 is no TooltipDisplayMode"),
            (lambda data: panel(data)["fieldConfig"]["defaults"].update(min="0"), "'0' is no float"),
            (lambda data: panel(data)["fieldConfig"]["defaults"].update(units="s"), "units: Grafana knows no such key"),
            (lambda data: panel(data)["fieldConfig"]["defaults"].update(custom={"lineWide": 1}), "lineWide: Grafana knows no such key"),
            (lambda data: panel(data)["datasource"].update(name="x"), "name: Grafana knows no such key"),
            (lambda data: panel(data)["targets"][0].update(query="up"), "query: Grafana knows no such key"),
            (lambda data: panel(data)["targets"][0].update(refId="B"), "a refId comes twice"),
            (lambda data: panel(data)["targets"][0].update(expr="rate(up)"), "expected type matrix"),
            (lambda data: panel(data)["targets"][0].update(expr="sum(up"), "unclosed left parenthesis"),
            (lambda data: panel(data)["targets"][0].update(expr='up{job=~"$jobs"}'), "no variable is named jobs"),
            (lambda data: panel(data).update(targets=[]), "nothing to show"),
        ]:
            data = copy.deepcopy(self.data)
            change(data)
            with self.subTest(said):
                self.assertIn(said, "\n".join(problems(data)))


if __name__ == "__main__":
    unittest.main(verbosity=1)
