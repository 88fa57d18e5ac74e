"""Emulator of the few i386 instructions that the seed of genesis consists of, one method per step."""

from __future__ import annotations

import struct

BASE = 0x08048000
MEMORY = 0x4000  # less than the seed has, to be quick
STACK = 0x1000
EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)


class Ended(Exception):  # noqa: N818
    """The program ended: with an exit status, or by executing another program."""

    def __init__(self, status: int | None, program: str = "", arguments: tuple[str, ...] = ()) -> None:
        self.status, self.program, self.arguments = status, program, arguments


class Machine:
    """A process: memory, registers, and files by their names."""

    def __init__(self, image: bytes, arguments: list[str], files: dict[str, bytes]) -> None:
        size = struct.unpack_from("<I", image, 44 + 16)[0]
        assert size == len(image)
        self.memory = bytearray(image) + bytearray(MEMORY - len(image))
        self.stack = bytearray(STACK)
        self.register = [0] * 8
        self.ip = struct.unpack_from("<I", image, 24)[0]
        self.zero = self.carry = self.sign = False
        self.files = files
        self.open: dict[int, tuple[str, int]] = {}
        self.errors = b""
        self.taken: set[tuple[int, bool]] = set()  # conditional jumps: where, and whether taken
        self.executed: set[int] = set()
        self.push_words(arguments)

    def push_words(self, arguments: list[str]) -> None:
        top = len(self.stack)
        places = []
        for argument in arguments:
            top -= len(argument) + 1
            self.stack[top : top + len(argument)] = argument.encode()
            places.append(self.base_of_stack() + top)
        top = (top & -4) - 4 * (len(places) + 3)
        struct.pack_into(f"<{len(places) + 3}I", self.stack, top, len(places), *places, 0, 0)
        self.register[ESP] = self.base_of_stack() + top

    def base_of_stack(self) -> int:
        return 0xC0000000 - STACK

    # Memory

    def place(self, address: int) -> tuple[bytearray, int]:
        if BASE <= address < BASE + MEMORY:
            return self.memory, address - BASE
        assert self.base_of_stack() <= address < self.base_of_stack() + STACK, hex(address)
        return self.stack, address - self.base_of_stack()

    def load(self, address: int) -> int:
        memory, at = self.place(address)
        return int(struct.unpack_from("<I", memory, at)[0])

    def text(self, address: int) -> str:
        memory, at = self.place(address)
        return memory[at : memory.index(0, at)].decode()

    def fetch(self, form: str) -> int:
        memory, at = self.place(self.ip)
        self.ip += struct.calcsize(form)
        return int(struct.unpack_from(form, memory, at)[0])

    def push(self, value: int) -> None:
        self.register[ESP] -= 4
        memory, at = self.place(self.register[ESP])
        struct.pack_into("<I", memory, at, value & 0xFFFFFFFF)

    def pop(self) -> int:
        value = self.load(self.register[ESP])
        self.register[ESP] += 4
        return value

    # Registers of 8 bits: al, cl, dl, bl

    def low(self, number: int) -> int:
        assert number < 4
        return self.register[number] & 255

    def set_low(self, number: int, value: int) -> None:
        assert number < 4
        self.register[number] = self.register[number] & ~255 | value & 255

    def flags(self, value: int, bits: int = 32, *, carry: bool = False) -> int:
        value &= (1 << bits) - 1
        self.zero, self.sign, self.carry = value == 0, bool(value >> (bits - 1)), carry
        return value

    def step(self) -> None:  # noqa: PLR0912 -- one branch for each kind of instruction
        """Execute one instruction."""
        self.executed.add(self.ip)
        at, opcode = self.ip, self.fetch("<B")
        register, low = self.register, opcode & 7
        if opcode == 0xCD:
            assert self.fetch("<B") == 0x80
            self.register[EAX] = self.system_call() & 0xFFFFFFFF
        elif opcode in {0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0xEB}:
            self.jump(at, opcode, self.fetch("<b"))
        elif opcode & 0xF8 == 0x48:
            carry = self.carry
            register[low] = self.flags(register[low] - 1, carry=carry)
        elif opcode & 0xF8 == 0x50:
            self.push(register[low])
        elif opcode & 0xF8 == 0x58:
            register[low] = self.pop()
        elif opcode & 0xF8 == 0x90:
            register[EAX], register[low] = register[low], register[EAX]
        elif opcode & 0xF8 == 0xB0:
            self.set_low(low, self.fetch("<B"))
        elif opcode & 0xF8 == 0xB8:
            register[low] = self.fetch("<I")
        elif opcode == 0x66:
            assert self.fetch("<B") & 0xF8 == 0xB8
            low = self.memory[at - BASE + 1] & 7
            register[low] = register[low] & ~0xFFFF | self.fetch("<H")
        elif opcode == 0x6A:
            self.push(self.fetch("<b"))
        elif opcode == 0x99:
            register[EDX] = 0xFFFFFFFF if register[EAX] >> 31 else 0
        elif opcode == 0xAA:
            memory, place = self.place(register[EDI])
            memory[place] = self.low(EAX)
            register[EDI] += 1
        elif opcode == 0xAC:
            memory, place = self.place(register[ESI])
            self.set_low(EAX, memory[place])
            register[ESI] += 1
        elif opcode in {0x04, 0x2C, 0x3C}:
            self.immediate(opcode, self.fetch("<B"))
        else:
            self.with_modrm(opcode, self.fetch("<B"))

    def jump(self, at: int, opcode: int, distance: int) -> None:
        taken = {
            0x72: self.carry,
            0x73: not self.carry,
            0x74: self.zero,
            0x75: not self.zero,
            0x76: self.carry or self.zero,
            0x77: not (self.carry or self.zero),
            0x78: self.sign,
            0xEB: True,
        }[opcode]
        if opcode != 0xEB:
            self.taken.add((at, taken))
        if taken:
            self.ip += distance

    def immediate(self, opcode: int, value: int) -> None:
        al = self.low(EAX)
        if opcode == 0x04:
            self.set_low(EAX, self.flags(al + value, 8, carry=al + value > 255))
        else:
            result = self.flags(al - value, 8, carry=al < value)
            if opcode == 0x2C:
                self.set_low(EAX, result)

    def with_modrm(self, opcode: int, modrm: int) -> None:
        mode, register, low = modrm >> 6, modrm >> 3 & 7, modrm & 7
        values = self.register
        if opcode == 0x8B and (mode, low) == (0, 4):  # mov register, [esp]
            assert self.fetch("<B") == 0x24
            values[register] = self.load(values[ESP])
        elif opcode == 0x8D and mode == 1:  # lea
            values[register] = (values[low] + self.fetch("<b")) & 0xFFFFFFFF
        elif opcode == 0xC6 and (mode, register) == (0, 0):  # mov byte [register], number
            memory, place = self.place(values[low])
            memory[place] = self.fetch("<B")
        elif opcode == 0xC0 and (mode, register) == (3, 4):  # shl
            count = self.fetch("<B")
            value = self.low(low) << count
            self.set_low(low, self.flags(value, 8, carry=bool(value & 256)))
        else:
            assert mode == 3, hex(opcode)
            self.between_registers(opcode, register, low)

    def between_registers(self, opcode: int, source: int, target: int) -> None:
        a, b = self.register[target], self.register[source]
        if opcode == 0x08:
            self.set_low(target, self.flags(self.low(target) | self.low(source), 8))
        elif opcode == 0x89:
            self.register[target] = b
        elif opcode == 0x01:
            self.register[target] = self.flags(a + b, carry=a + b > 0xFFFFFFFF)
        elif opcode == 0x29:
            self.register[target] = self.flags(a - b, carry=a < b)
        elif opcode == 0x31:
            self.register[target] = self.flags(a ^ b)
        elif opcode == 0x39:
            self.flags(a - b, carry=a < b)
        elif opcode == 0x85:
            self.flags(a & b)
        else:
            raise AssertionError(hex(opcode))

    # System calls

    def system_call(self) -> int:
        number, b, c, d = (self.register[index] for index in (EAX, EBX, ECX, EDX))
        if number == 1:
            raise Ended(b)
        if number == 3:
            return self.read(b, c, d)
        if number == 4:
            return self.write(b, c, d)
        if number == 5 and c == 0o1101:  # to write, made anew
            return self.create(b, d)
        if number == 5:
            assert c == 0
            return self.descriptor(self.text(b)) if self.text(b) in self.files else -2
        if number == 6:
            return 0 if self.open.pop(b, None) else -9
        assert number == 11
        return self.execute(b, c, d)

    def descriptor(self, name: str) -> int:
        number = 3 + len(self.open)
        self.open[number] = (name, 0)
        return number

    def create(self, name: int, mode: int) -> int:
        assert mode & 0xFFF == 0o755
        if name == 0:
            return -14
        if self.text(name).startswith("/nowhere/"):
            return -2
        self.files[self.text(name)] = b""
        return self.descriptor(self.text(name))

    def read(self, number: int, address: int, size: int) -> int:
        if number not in self.open:
            return -9
        name, offset = self.open[number]
        data = self.files[name][offset : offset + size]
        memory, at = self.place(address)
        memory[at : at + len(data)] = data
        self.open[number] = (name, offset + len(data))
        return len(data)

    def write(self, number: int, address: int, size: int) -> int:
        memory, at = self.place(address)
        data = bytes(memory[at : at + size])
        if number == 2:
            self.errors += data
            return size
        if number not in self.open:
            return -9
        name, _ = self.open[number]
        if name == "full":
            data = data[: size // 2]
        self.files[name] += data
        return len(data)

    def execute(self, name: int, words: int, environment: int) -> int:
        program = self.text(name)
        assert environment == 0
        assert not self.open or all(program != held for held, _ in self.open.values())
        if self.files[program][:4] != b"\x7fELF":
            return -8
        found: list[str] = []
        while address := self.load(words + 4 * len(found)):
            found.append(self.text(address))
        raise Ended(None, program, tuple(found))


def run(machine: Machine) -> Ended:
    """Execute instructions until the process ends."""
    try:
        while True:
            machine.step()
    except Ended as ended:
        return ended
