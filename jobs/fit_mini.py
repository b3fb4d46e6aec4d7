"""``farm fit-mini RECIPE``: the embedded models from their recipe, phase by phase; each skips what is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from cluster.calls import Call, run_calls
from cluster.fit import Training, fit, is_fitted
from cluster.progress import Progress
from cluster.session import connect
from farm.config import ClusterConfig, PoolConfig
from farm.mini.recipe import Network, Recipe, hold_settings, load_recipe
from jobs.cli import emit, run_command
from jobs.common import progress

NETWORKS = ("vae", "unet", "clip")


@click.command("fit-mini", help="Train the embedded models of RECIPE (YAML) on Ray Train; cut off, it goes on.")
@click.argument("recipe", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="Pool and checkpoints.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="diffusion/ and clip/.")
@click.option("--only", type=click.Choice(NETWORKS), help="Train this network, and what it needs, alone.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes that share a batch."
)
@click.option("--device", default="cpu", show_default=True, type=click.Choice(("cpu", "cuda")), help="Of each worker.")
@click.option("--address", help="The cluster to join; it must see both folders. A local Ray without it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    recipe: Path,
    folder: Path,
    out: Path,
    only: str | None,
    workers: int,
    device: str,
    address: str | None,
    as_json: bool,
) -> None:
    """Pool, autoencoder, latents, noise predictor, CLIP, folders."""
    build = Build(load_recipe(recipe), folder.absolute(), out.absolute(), progress(as_json), address, workers, device)
    made = build.run(only)
    emit(made, as_json, "\n".join(f"{name}: {place}" for name, place in made.items()))


class Build:
    """One recipe in one folder."""

    def __init__(
        self, recipe: Recipe, folder: Path, out: Path, show: Progress, address: str | None, workers: int, device: str
    ) -> None:
        self.recipe, self.folder, self.out, self.progress = recipe, folder, out, show
        self.address, self.workers, self.device = address, workers, device

    def run(self, only: str | None) -> dict[str, str]:
        """Every phase that ``only`` (None: all) needs; gives where the networks lie that were asked for."""
        self.fill_pool()
        made = {}
        if only != "clip":
            self.train("vae")
            made["vae"] = str(self.folder / "vae.pt")
        if only in (None, "unet"):
            self.cache_latents()
            self.train("unet")
            made["diffusion"] = self.export("diffusion", "model_index.json", "vae.pt", "unet.pt")
        if only in (None, "clip"):
            self.train("clip")
            made["clip"] = self.export("clip", "open_clip_config.json", "clip.pt")
        return made

    def fill_pool(self) -> None:
        """Render what is missing of the pool, a task a shard."""
        hold_settings(self.recipe, self.folder, "pool")
        there = [(self.folder / "pool" / shard.name).is_file() for shard in self.recipe.pool.shards()]
        missing = [self._call("render_shard", index=index) for index, done in enumerate(there) if not done]
        self._run_calls("pool", missing, "shards", cpus=1)

    def train(self, network: Network) -> None:
        """Train ``network`` to its last step."""
        hold_settings(self.recipe, self.folder, network)
        loop, seed, threads = self.recipe.loop(network), self.recipe.seed, self.recipe.threads
        task, show = self._call("build_task", network=network), self._show(network)
        training = Training(network, task, loop, seed, str(self.folder), show, threads, self.device)
        pool = PoolConfig(actors=self.workers, cpus=threads, gpus=float(self.device == "cuda"))
        with self._phase(network, 0 if is_fitted(training) else loop.steps, "steps"):
            fit(training, pool, lambda step, _: self.progress.advance(step, {}))

    def cache_latents(self) -> None:
        """Encode the pool once."""
        missing = [] if (self.folder / "latents.pt").is_file() else [self._call("cache_latents")]
        self._run_calls("latents", missing, "pool", cpus=self.recipe.threads)

    def export(self, kind: Literal["diffusion", "clip"], marker: str, *weights: str) -> str:
        """Write ``out/<kind>``, unless its ``marker`` is newer than the ``weights`` that it is made from."""
        made, place = self.out / kind, self.out / kind / marker
        newest = max((self.folder / name).stat().st_mtime for name in weights)
        done = place.is_file() and place.stat().st_mtime >= newest
        calls = [] if done else [self._call(f"export_{kind}", out=self.out)]
        self._run_calls(f"write {kind}", calls, "folder", cpus=self.recipe.threads)
        return str(made)

    def _call(self, name: str, **arguments: Any) -> Call:
        return Call(f"farm.mini.fit:{name}", {"recipe": self.recipe, "folder": self.folder, **arguments})

    def _show(self, network: Network) -> Call | None:
        known = {"recipe": self.recipe, "folder": self.folder}
        shows = {"vae": Call("farm.mini.show:show_vae"), "unet": Call("farm.mini.show:show_unet", known)}
        return shows.get(network)

    def _run_calls(self, name: str, calls: list[Call], unit: str, cpus: float) -> None:
        with self._phase(name, len(calls), unit):
            if calls:
                run_calls(calls, cpus, lambda ended: self.progress.advance(ended, {}))

    @contextmanager
    def _phase(self, name: str, work: int, unit: str) -> Iterator[None]:
        """Shows a phase, and joins Ray when there is work."""
        self.progress.start(name, work, unit)
        begun, ok = time.perf_counter(), False
        try:
            if work:
                connect(ClusterConfig(address=self.address, num_gpus=self._gpus()))
            yield
            ok = True
        finally:
            self.progress.finish(name, time.perf_counter() - begun, ok)

    def _gpus(self) -> int:
        return self.workers if self.device == "cuda" else 0


if __name__ == "__main__":
    run_command(command)
