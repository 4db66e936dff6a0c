"""Package metadata; tool settings live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "reworker" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'__version__ = "(.+)"', INIT)[1]

setup(
    name="reworker",
    version=VERSION,
    description="Release steps and background work over RabbitMQ: workers, playbooks and a crash-proof core",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["reworker", "reworker.*", "replugin", "replugin.*"]),
    package_data={"reworker": ["py.typed", "demo/*.yaml", "web/static/*", "web/templates/*.html"]},
    install_requires=[
        "pika>=1.4.4,<2",
        "msgspec>=0.19",
        "PyYAML>=6",
        "click>=8.1",
        "rich>=13",
    ],
    extras_require={
        "server": [
            "cronsim>=2.6,<3",
            "Jinja2>=3.1",
            "jsonschema>=4.18,<5",
            "psycopg[binary]>=3.2,<4",
            "SQLAlchemy>=2.0,<3",
            "starlette>=0.46",
            "tzdata",
            "uvicorn>=0.34",
        ],
        "keyring": ["keyring>=24"],
        "oidc": ["PyJWT[crypto]>=2.9,<3"],
        "otel": ["opentelemetry-api>=1.24"],
        "test": [
            "aiosmtpd>=1.4",
            "httpx>=0.27",
            "hypothesis>=6",
            "iron-worker==1.3.8",
            "ironworker==0.0.4",
            "mock>=5",
            "openapi-spec-validator>=0.7",
            "opentelemetry-sdk>=1.24",
            "playwright>=1.49",
            "prometheus-client>=0.20",
            "PyJWT[crypto]>=2.9,<3",
            "pytest>=8",
            "pytest-cov>=5",
            "pytest-randomly>=3",
            "pytest-timeout>=2",
            "schemathesis>=4",
        ],
        "bench": [
            "aio-pika>=9",
            "celery>=5",
            "dramatiq[rabbitmq]>=1.17",
            "faststream[rabbit]>=0.5",
            "matplotlib>=3.8",
            "taskiq>=0.11",
            "taskiq-aio-pika>=0.4",
        ],
        "check": ["mypy>=1.11", "ruff>=0.6", "types-PyYAML", "types-jsonschema"],
        "docs": ["sphinx>=7", "furo", "myst-parser", "sphinxcontrib-mermaid"],
    },
    entry_points={
        "console_scripts": ["reworker = reworker.cli.main:main"],
        "pytest11": ["reworker = reworker.testing.pytest_plugin"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: System :: Distributed Computing",
    ],
)
