"""Map the top-level folders onto the import names diffsda, diffsda.kernels, diffsda.export, ...

The folders sit at the top of the repository, but packages called ``kernels`` or ``data`` in site-packages
would collide with others, so they install inside ``diffsda``.
"""

from setuptools import find_packages, setup

FOLDERS = {
    "diffsda": "diffsda",
    "diffsda.kernels": "kernels",
    "diffsda.export": "export",
    "diffsda.data": "data",
    "diffsda.bench": "bench",
}

packages, package_dir = [], {}
for name, folder in FOLDERS.items():
    packages.append(name)
    package_dir[name] = folder
    for sub in find_packages(folder):
        packages.append(f"{name}.{sub}")
        package_dir[f"{name}.{sub}"] = f"{folder}/{sub.replace('.', '/')}"

setup(
    packages=packages,
    package_dir=package_dir,
    package_data={
        "diffsda": ["py.typed"],
        "diffsda.data.embedded": ["*.npz", "*.md"],
    },
)
