"""Fake trees and commands of boards, and lines that real ones wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge.device.sensors import Commands, Host

ORIN_NANO_LINE = (
    "05-05-2025 06:05:39 RAM 2639/7620MB (lfb 9x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@729,4%@729,off,off] "
    "GR3D_FREQ 0% cpu@44.156C tj@45.968C VDD_IN 5263mW/5263mW VDD_CPU_GPU_CV 717mW/717mW VDD_SOC 1794mW/1794mW"
)
AGX_ORIN_LINE = (
    "11-21-2025 08:49:48 RAM 13983/62780MB (lfb 424x4MB) SWAP 126/31390MB (cached 0MB) CPU [90%@2201,100%@2201] "
    "EMC_FREQ 1%@2133 GR3D_FREQ 14%@[407,407] VIC_FREQ 115 NVDLA0_FREQ @1600 APE 174 CV0@73.625C CPU@77.281C "
    "Tboard@62C Tdiode@62.25C tj@77.281C VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW "
    "VIN_SYS_5V0 4968mW/5048mW VDDQ_VDD2_1V8AO 1091mW/1091mW"
)
THROTTLED = "throttled=0x50000\n"
TEMPERATURE = "temp=48.3'C\n"
PMIC = """  3V7_WL_SW_A current(0)=0.00195186A
    3V3_SYS_A current(1)=0.12687090A
    1V8_SYS_A current(2)=0.18835450A
   DDR_VDD2_A current(3)=0.02147046A
   DDR_VDDQ_A current(4)=0.00000000A
    1V1_SYS_A current(5)=0.17957110A
     0V8_SW_A current(6)=0.25959740A
   VDD_CORE_A current(7)=0.94657990A
    3V3_DAC_A current(17)=0.00000000A
    3V3_ADC_A current(18)=0.00000000A
    0V8_AON_A current(16)=0.00293040A
       HDMI_A current(22)=0.02551890A
  3V7_WL_SW_V volt(8)=3.70720000V
    3V3_SYS_V volt(9)=3.32580900V
    1V8_SYS_V volt(10)=1.80415000V
   DDR_VDD2_V volt(11)=1.11135400V
   DDR_VDDQ_V volt(12)=0.60329610V
    1V1_SYS_V volt(13)=1.11282000V
     0V8_SW_V volt(14)=0.80512740V
   VDD_CORE_V volt(15)=0.72097620V
    3V3_DAC_V volt(20)=3.32142500V
    3V3_ADC_V volt(21)=3.32966700V
    0V8_AON_V volt(19)=0.80175740V
       HDMI_V volt(23)=5.11746000V
      EXT5V_V volt(24)=5.14158000V
       BATT_V volt(25)=3.28033900V
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: false
  Wireless powered: false
  Dock powered: false
  Max charging current: 0
  Charge counter: 2851000
  status: 3
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 3870
  temperature: 301
  technology: Li-ion
"""
THERMAL = """IsStatusOverride: false
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=91.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=52.5, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=33.61866, mType=3, mName=SKIN, mStatus=0}
\tTemperature{mValue=-99.9, mType=6, mName=TYPE_POWER_AMPLIFIER, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=TYPE_CPU}
"""
MEMINFO = """Applications Memory Usage (in Kilobytes):
Uptime: 100 Realtime: 100
** MEMINFO in pid 1234 [org.example] **
        TOTAL   345678   300000    20000        0   350000   360000   300000    60000

 App Summary
           TOTAL PSS:   345678            TOTAL RSS:   400000       TOTAL SWAP PSS:        0
"""


class Clock:
    """Seconds that go on only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Programs:
    """A Runner that answers from a table and keeps what was run and when. An answer may be text, None or a function."""

    def __init__(
        self, answers: Mapping[str, str | Callable[[], str | None] | None], clock: Clock | None = None
    ) -> None:
        self.answers = dict(answers)
        self.clock = clock or Clock()
        self.started: list[tuple[float, str]] = []

    def __call__(self, argv: Sequence[str]) -> str | None:
        name = " ".join(argv)
        self.started.append((self.clock(), name))
        answer = self.answers.get(name)
        return answer() if callable(answer) else answer


def write(root: Path, **files: object) -> Path:
    """Files with a newline, as /sys has them."""
    root.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (root / name).write_text(f"{value}\n")
    return root


def zone(root: Path, index: int, kind: str, millicelsius: object) -> None:
    """A thermal zone."""
    write(root / f"sys/class/thermal/thermal_zone{index}", type=kind, temp=millicelsius)


def clocks(root: Path, *kilohertz: int) -> None:
    """One CPU for each clock."""
    for cpu, clock in enumerate(kilohertz):
        write(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq", scaling_cur_freq=clock)


def monitor(root: Path, address: str, number: int, *rails: tuple[str, int, int] | None) -> Path:
    """An INA3221 with up to three rails (label, mV, mA), its shunt channels and their sum."""
    folder = root / f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon{number}"
    write(folder, name="ina3221", in7_input=999, in7_label="sum of shunt voltages", curr4_input=99999)
    for channel, rail in enumerate(rails, 1):
        write(folder, **{f"in{channel + 3}_input": 40 * channel})
        if rail is not None:
            label, millivolts, milliamperes = rail
            write(folder, **{f"in{channel}_label": label, f"in{channel}_input": millivolts})
            write(folder, **{f"curr{channel}_input": milliamperes})
    return folder


def orin_nano(root: Path) -> Host:
    """A Jetson Orin Nano: one monitor with the module's input and two parts of it."""
    rails = (("VDD_IN", 5016, 1048), ("VDD_CPU_GPU_CV", 5008, 144), ("VDD_SOC", 5008, 360))
    monitor(root, "1-0040", 1, *rails)
    zone(root, 0, "cpu-thermal", 44156)
    zone(root, 1, "gpu-thermal", "")  # fails to read while the GPU sleeps
    zone(root, 8, "tj-thermal", 45968)
    clocks(root, 729_600, 729_600)
    write(root / "sys/class/thermal/cooling_device0", type="cpufreq-cpu0", cur_state=0)
    return Host(root)


def agx_orin(root: Path) -> Host:
    """A Jetson AGX Orin: two monitors, no input rail."""
    monitor(root, "1-0040", 3, ("VDD_GPU_SOC", 19_000, 160), ("VDD_CPU_CV", 19_000, 100), ("VIN_SYS_5V0", 4_968, 1_000))
    monitor(root, "1-0041", 4, ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4_968, 200), None)
    zone(root, 0, "tj-thermal", 77281)
    clocks(root, *[2_201_600] * 12)
    return Host(root)


def pi4(root: Path, clock: Clock | None = None) -> tuple[Host, Programs]:
    """A Raspberry Pi 4: vcgencmd without the PMIC command, which fails there."""
    zone(root, 0, "cpu-thermal", 61341)
    clocks(root, *[1_800_000] * 4)
    programs = Programs(
        {"vcgencmd get_throttled": THROTTLED, "vcgencmd measure_temp": TEMPERATURE, "vcgencmd pmic_read_adc": None},
        clock,
    )
    return Host(root, Commands(programs, programs.clock)), programs


def pi5(root: Path, clock: Clock | None = None) -> tuple[Host, Programs]:
    """A Raspberry Pi 5."""
    host, programs = pi4(root, clock)
    programs.answers["vcgencmd pmic_read_adc"] = PMIC
    return host, programs


def x86(root: Path) -> Host:
    """A PC with two sockets, run by root."""
    for number, energy in ((0, 900), (1, 100)):
        folder = root / f"sys/class/powercap/intel-rapl:{number}"
        write(folder, name=f"package-{number}", energy_uj=energy, max_energy_range_uj=1_000_000)
    zone(root, 0, "x86_pkg_temp", 55000)
    clocks(root, 3_000_000, 800_000)
    write(root / "sys/class/thermal/cooling_device0", type="Fan", cur_state=1)
    write(root / "sys/class/thermal/cooling_device1", type="Processor", cur_state=0)
    return Host(root)


def android(clock: Clock | None = None) -> Programs:
    """The commands of a tablet on its battery."""
    return Programs(
        {
            "dumpsys battery": BATTERY,
            "dumpsys thermalservice": THERMAL,
            "cat /sys/class/power_supply/battery/current_now": "-905000\n",
        },
        clock,
    )
