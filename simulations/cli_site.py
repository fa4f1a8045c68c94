"""`silosynth site`: what people at an institution type. The commands are in the cli_site_*.py beside this file."""

import typer

from silosynth.simulations import (
    cli_site_books,
    cli_site_doctor,
    cli_site_init,
    cli_site_report,
    cli_site_run,
    cli_site_study,
)

app = typer.Typer(help="A site: join, approve studies, see what was spent and what left.", no_args_is_help=True)

app.command()(cli_site_init.init)
app.command()(cli_site_init.request)
app.command()(cli_site_study.check)
app.command()(cli_site_study.approve)
app.command()(cli_site_study.rehearse)
app.command()(cli_site_doctor.doctor)
app.command()(cli_site_run.run)
app.command()(cli_site_report.report)
app.command()(cli_site_books.ledger)
app.command(name="outbox")(cli_site_books.left)
app.command()(cli_site_books.unlock)
