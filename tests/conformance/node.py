"""Node's packages, installed below a folder of the build where npm is here."""
import os
import shutil
import subprocess


def install(folder, package, version):
    """False where that cannot be: neither Node, nor the package."""
    if (folder / "node_modules" / package).exists():
        return True
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(["npm", "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", folder, f"{package}@{version}"],
                          capture_output=True, check=False).returncode == 0


def environment(folder):
    """For a script that requires the package."""
    return {**os.environ, "NODE_PATH": str(folder / "node_modules")}
