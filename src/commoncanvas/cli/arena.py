"""`commoncanvas arena ...`: one thin function for each command."""

from __future__ import annotations

from cyclopts import App

app = App(name="arena", help="Blind comparisons of models by people.")
