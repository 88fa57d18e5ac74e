"""C0 compiler in Python: a second opinion on the compiler of images/genesis.

Usage: python3 c0.py OUTPUT A.c B.c …

images/genesis/04-c0/README.md defines the language and the code for each construct; the compiler
there and this program give the same bits.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

BASE = 0x08048000
BSS = BASE + 0x400000  # uninitialised memory; everything before it is the image's
HEADER = 84  # ELF header and one program header
MAX_DEPTH = 500
MAX_PARAMETERS = 8
KEYWORDS = frozenset({
    "int", "char", "void", "struct", "enum", "sizeof", "if", "else", "while",
    "do", "for", "switch", "case", "default", "break", "continue", "return",
    # not in C0:
    "auto", "const", "double", "extern", "float", "goto", "long", "register", "short",
    "signed", "static", "typedef", "union", "unsigned", "volatile",
})  # fmt: skip
TOKEN = re.compile(
    r"(?P<space>[ \t\r\f\v]+)|(?P<line>\n)|(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<number>[0-9][A-Za-z_0-9]*)|(?P<string>\"(?:[^\"\\\n]|\\[^\n])*\")|(?P<char>'(?:[^'\\\n]|\\[^\n])+')"
    r"|(?P<op><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:;,(){}\[\]])",
    re.DOTALL,
)
ESCAPES = {"n": 10, "t": 9, "r": 13, "\\": 92, "'": 39, '"': 34, "a": 7, "b": 8, "f": 12, "v": 11}
LEVELS = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
CODE = {
    "|": "09c8", "^": "31c8", "&": "21c8", "<<": "d3e0", ">>": "d3f8", "+": "01c8", "-": "29c8",
    "*": "0fafc1", "/": "99f7f9", "%": "99f7f989d0",
}  # fmt: skip
SIGNED = {"==": 0x94, "!=": 0x95, "<": 0x9C, ">=": 0x9D, "<=": 0x9E, ">": 0x9F}  # setcc
UNSIGNED = {"==": 0x94, "!=": 0x95, "<": 0x92, ">=": 0x93, "<=": 0x96, ">": 0x97}
ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="})


class Token(NamedTuple):
    kind: str  # name, keyword, number, string, op or end
    text: str
    value: int
    where: str


class Type(NamedTuple):
    base: str  # int, char, void or "struct TAG"
    depth: int = 0  # of pointers

    def target(self) -> Type:
        return Type(self.base, self.depth - 1)

    def pointer(self) -> Type:
        return Type(self.base, self.depth + 1)


INT, CHAR, VOID = Type("int"), Type("char"), Type("void")


class Operand(NamedTuple):
    """What eax holds: a value, or the address of one that is not loaded yet."""

    type: Type
    lvalue: bool = False


class Symbol:
    def __init__(self, kind: str, type_: Type = INT, value: int = 0) -> None:
        self.kind = kind  # constant, variable (value: modrm and address in `value`), array, function
        self.type = type_
        self.value = value  # of a constant; address of a global; displacement of a local
        self.local = False
        self.parameters = 0
        self.defined = False
        self.calls: list[int] = []  # rel32 fields to fill in


class C0Error(Exception):
    """A program that is not C0: file, line and message."""


def signed(value: int) -> int:
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)


def tokens(name: str, source: bytes) -> list[Token]:
    text, at, line, found = source.decode("latin-1"), 0, 1, list[Token]()
    while at < len(text):
        match, where = TOKEN.match(text, at), f"{name}:{line}"
        if match is None:
            raise C0Error(f"{where}: {_unreadable(text[at : at + 2])}")
        if match["op"] == "/" and text.startswith("/*", at):
            raise C0Error(f"{where}: unterminated comment")
        kind, word = str(match.lastgroup), match.group()
        at = match.end()
        line += word.count("\n")
        if kind == "name":
            found.append(Token("keyword" if word in KEYWORDS else "name", word, 0, where))
        elif kind == "number":
            found.append(Token("number", word, _number(word, where), where))
        elif kind == "string":
            found.append(Token("string", _characters(word[1:-1], where), 0, where))
        elif kind == "char":
            value = _characters(word[1:-1], where)
            if len(value) != 1:
                raise C0Error(f"{where}: bad character constant")
            found.append(Token("number", word, (ord(value) ^ 128) - 128, where))
        elif kind == "op":
            found.append(Token("op", word, 0, where))
    return [*found, Token("end", "end of file", 0, f"{name}:{line}")]


def _unreadable(text: str) -> str:
    return {'"': "unterminated string", "'": "bad character constant"}.get(
        text[0], f"unexpected byte {ord(text[0])}"
    )


def _number(word: str, where: str) -> int:
    for form, base, limit in (
        ("0[xX][0-9a-fA-F]+", 16, 0xFFFFFFFF),
        ("0[0-7]*", 8, 0xFFFFFFFF),
        ("[1-9][0-9]*", 10, 0x7FFFFFFF),
    ):
        if re.fullmatch(form, word):
            value = int(word, base)
            if value <= limit:
                return signed(value)
            raise C0Error(f"{where}: number too large")
    raise C0Error(f"{where}: bad number")


def _characters(text: str, where: str) -> str:
    def one(match: re.Match[str]) -> str:
        body = match.group(1)
        if body in ESCAPES:
            return chr(ESCAPES[body])
        if re.fullmatch("x[0-9a-fA-F]{1,2}", body):
            return chr(int(body[1:], 16))
        if re.fullmatch("[0-7]{1,3}", body) and int(body, 8) < 256:
            return chr(int(body, 8))
        raise C0Error(f"{where}: bad escape")

    return re.sub(r"\\(x[0-9a-fA-F]*|[0-7]{1,3}|.)", one, text, flags=re.DOTALL)


class Compiler:
    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0
        self.code = bytearray()
        self.lea = -1  # where the last instruction starts if it is a lea
        self.bss = BSS
        self.scopes: list[dict[str, Symbol]] = [{}]
        self.structs: dict[str, int | None] = {}  # size, None as long as it is unknown
        self.members: dict[str, tuple[str, int, Type]] = {}
        self.breaks: list[int] | None = None
        self.continues: list[int] | None = None
        self.function = Symbol("function")
        self.slots = 0
        self.depth = 0
        builtin = Symbol("function")
        builtin.parameters, builtin.defined = 4, True
        self.scopes[0]["syscall"] = builtin

    # Tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def error(self, message: str) -> NoReturn:
        raise C0Error(f"{self.token.where}: {message}")

    def next(self) -> Token:
        token = self.token
        if token.kind != "end" or self.at + 1 < len(self.tokens):
            self.at += 1
        return token

    def is_op(self, *texts: str) -> bool:
        return self.token.kind in {"op", "keyword"} and self.token.text in texts

    def accept(self, text: str) -> bool:
        if self.is_op(text):
            self.next()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.error(f"expected {text}")

    def name(self) -> str:
        if self.token.kind != "name":
            self.error("expected a name")
        return self.next().text

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.error("nested too deeply")

    # Code

    def emit(self, code: str, *values: int) -> None:
        """Append hex digits and 32-bit values."""
        self.code += bytes.fromhex(code)
        for value in values:
            self.code += struct.pack("<I", value & 0xFFFFFFFF)

    def address(self) -> int:
        return BASE + HEADER + len(self.code)

    def emit_lea(self, modrm: str, displacement: int) -> None:
        self.lea = len(self.code)
        self.emit("8d" + modrm, displacement)

    def after_lea(self) -> bool:
        return self.lea >= 0 and self.lea + 6 == len(self.code)

    def jump(self, code: str) -> int:
        """A jump with its target to be filled in; its field's position."""
        self.emit(code, 0)
        return len(self.code) - 4

    def jump_to(self, code: str, target: int) -> None:
        self.emit(code, 0)
        self.fill(len(self.code) - 4, target)

    def fill(self, field: int, target: int) -> None:
        struct.pack_into("<i", self.code, field, target - field - 4)

    def land(self, *fields: int) -> None:
        """Make jumps come here."""
        for field in fields:
            self.fill(field, len(self.code))
        self.lea = -1

    def load(self, operand: Operand) -> Type:
        """Turn what eax holds into a value."""
        kind = operand.type
        if kind.depth == 0 and kind.base not in {"int", "char"}:
            self.error(f"a {kind.base.split()[0]} is used as a value")
        if operand.lvalue:
            if kind == CHAR:
                self.emit("0fbe00")
            elif self.after_lea():
                self.code[self.lea] = 0x8B
                self.lea = -1
            else:
                self.emit("8b00")
        return INT if kind == CHAR else kind

    def push(self) -> int:
        self.emit("50")
        return len(self.code)

    def pop_left(self, start: int) -> None:
        """The right operand's code began at `start`, after a push: left operand to eax, right one to ecx."""
        if len(self.code) == start + 6:
            self.code[start + 1] |= 8
            del self.code[start - 1]
            self.lea = -1
        else:
            self.emit("89c158")

    def scale(self, size: int, eax: str, ecx: str, *, right: bool = True) -> None:
        """Multiply eax or ecx by a size; the two strings are the register's modrm bytes for shl and imul."""
        if size == 4:
            self.emit(f"c1{'e1' if right else 'e0'}02")
        elif size != 1:
            self.emit("69" + (ecx if right else eax), size)

    # Types

    def at_type(self) -> bool:
        return self.is_op("int", "char", "void", "struct")

    def base_type(self) -> Type:
        if self.accept("struct"):
            tag = self.name()
            self.structs.setdefault(tag, None)
            return Type("struct " + tag)
        if not self.at_type():
            self.error("expected a type")
        return Type(self.next().text)

    def stars(self, base: Type) -> Type:
        while self.accept("*"):
            base = self.pointer_to(base)
        return base

    def pointer_to(self, kind: Type) -> Type:
        if kind.depth == 7:
            self.error("too many levels of pointers")
        return kind.pointer()

    def size(self, kind: Type) -> int:
        if kind.depth or kind == INT:
            return 4
        if kind == CHAR:
            return 1
        size = self.structs.get(kind.base[7:]) if kind != VOID else None
        if size is None:
            self.error("the size is not known")
        return size

    def variable_type(self, base: Type) -> Type:
        kind = self.stars(base)
        if kind.depth == 0 and kind not in {INT, CHAR}:
            self.error("a variable cannot have this type")
        return kind

    # Constant expressions

    def constant(self) -> int:
        value = self.constant_binary(1)
        if self.accept("?"):
            self.deeper()
            first = self.constant()
            self.expect(":")
            second = self.constant()
            self.depth -= 1
            return first if value else second
        return value

    def constant_binary(self, level: int) -> int:
        left = self.constant_unary()
        while self.token.kind == "op" and LEVELS.get(self.token.text, 0) >= level:
            op = self.next().text
            left = self.compute(op, left, self.constant_binary(LEVELS[op] + 1))
        return left

    def compute(self, op: str, a: int, b: int) -> int:
        if op in {"/", "%"}:
            if b == 0 or (a, b) == (-0x80000000, -1):
                self.error("bad division")
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return quotient if op == "/" else a - b * quotient
        results = {
            "||": bool(a or b), "&&": bool(a and b), "|": a | b, "^": a ^ b, "&": a & b,
            "==": a == b, "!=": a != b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b,
            "<<": a << (b & 31), ">>": a >> (b & 31), "+": a + b, "-": a - b, "*": a * b,
        }  # fmt: skip
        return signed(int(results[op]))

    def constant_unary(self) -> int:
        self.deeper()
        token = self.next()
        if token.kind == "number":
            value = token.value
        elif token.kind == "name" and self.find(token.text, token).kind == "constant":
            value = self.find(token.text, token).value
        elif token.text == "sizeof" and token.kind == "keyword":
            value = self.size_of()
        elif token.kind == "op" and token.text in {"-", "~", "!"}:
            operand = self.constant_unary()
            value = {"-": signed(-operand), "~": ~operand, "!": int(not operand)}[token.text]
        elif token.kind == "op" and token.text == "(":
            value = self.constant()
            self.expect(")")
        else:
            raise C0Error(f"{token.where}: expected a constant")
        self.depth -= 1
        return value

    def size_of(self) -> int:
        self.expect("(")
        size = self.size(self.stars(self.base_type()))
        self.expect(")")
        return size

    # Expressions

    def find(self, name: str, token: Token) -> Symbol:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise C0Error(f"{token.where}: {name} is not declared")

    def value(self) -> Type:
        return self.load(self.expression())

    def expression(self) -> Operand:
        self.deeper()
        left = self.conditional()
        if self.token.kind == "op" and self.token.text in ASSIGNMENTS:
            left = self.assignment(left, self.next().text)
        self.depth -= 1
        return left

    def conditional(self) -> Operand:
        condition = self.binary(1)
        if not self.is_op("?"):
            return condition
        self.deeper()
        self.load(condition)
        self.next()
        otherwise = self.jump("85c00f84")
        first = self.value()
        self.expect(":")
        end = self.jump("e9")
        self.land(otherwise)
        second = self.load(self.conditional())
        self.land(end)
        self.depth -= 1
        return Operand(first if first.depth else second)

    def binary(self, level: int) -> Operand:
        left = self.unary()
        while self.token.kind == "op" and LEVELS.get(self.token.text, 0) >= level:
            kind = self.load(left)
            op = self.next().text
            if op in {"&&", "||"}:
                decided = self.jump("85c00f84" if op == "&&" else "85c00f85")
                self.load(self.binary(LEVELS[op] + 1))
                self.emit("85c0")
                self.land(decided)
                self.emit("0f95c00fb6c0")
                left = Operand(INT)
            else:
                start = self.push()
                right = self.load(self.binary(LEVELS[op] + 1))
                self.pop_left(start)
                left = Operand(self.operate(op, kind, right))
        return left

    def operate(self, op: str, left: Type, right: Type) -> Type:
        """Code for one binary operation of eax and ecx."""
        pointers = bool(left.depth) + bool(right.depth)
        if op in SIGNED:
            self.emit(f"39c80f{(UNSIGNED if pointers else SIGNED)[op]:02x}c00fb6c0")
            return INT
        if pointers == 0:
            self.emit(CODE[op])
            return INT
        if op == "-" and pointers == 2:
            if left != right:
                self.error("pointers of different types")
            self.emit("29c8")
            size = self.size(left.target())
            if size != 1:
                self.emit("b9", size)
                self.emit("99f7f9")
            return INT
        if pointers == 2 or op not in {"+", "-"} or (op == "-" and right.depth):
            self.error("this operator does not take pointers")
        pointer = left if left.depth else right
        self.scale(self.size(pointer.target()), "c0", "c9", right=bool(left.depth))
        self.emit(CODE[op])
        return pointer

    def simple(self) -> bytes | None:
        """The modrm byte and displacement of a variable whose address has just been taken."""
        if self.after_lea() and self.code[-5] != 0x80:
            return bytes(self.code[-5:])
        return None

    def need_lvalue(self, operand: Operand) -> None:
        if not operand.lvalue or (operand.type.depth == 0 and operand.type not in {INT, CHAR}):
            self.error("expected a variable")

    def assignment(self, left: Operand, op: str) -> Operand:
        self.need_lvalue(left)
        place = self.simple()
        if place is None:
            self.emit("50")
        if op == "=":
            if place is not None:
                del self.code[-6:]
                self.lea = -1
            self.value()
        else:
            kind = self.load(left)
            start = self.push()
            right = self.value()
            self.pop_left(start)
            self.operate(op[:-1], kind, right)
        if place is None:
            self.emit("59")
        self.store(left.type, place)
        if left.type == CHAR:
            self.emit("0fbec0")
        return Operand(INT if left.type == CHAR else left.type)

    def store(self, kind: Type, place: bytes | None) -> None:
        self.emit("88" if kind == CHAR else "89")
        self.code += place if place is not None else b"\x01"

    def step(self, operand: Operand, op: str, *, postfix: bool) -> Operand:
        self.need_lvalue(operand)
        place = self.simple()
        if place is None:
            self.emit("50")
        kind = self.load(operand)
        if place is None:
            self.emit("59")
        if postfix:
            self.emit("50")
        size = self.size(kind.target()) if kind.depth else 1
        self.emit("05", size if op == "++" else -size)
        self.store(operand.type, place)
        if postfix:
            self.emit("58")
        elif operand.type == CHAR:
            self.emit("0fbec0")
        return Operand(kind)

    def unary(self) -> Operand:
        self.deeper()
        token = self.token
        if token.kind == "op" and token.text in {"-", "~", "!", "*", "&", "++", "--"}:
            self.next()
            result = self.prefix(token.text, self.unary())
        elif self.accept("sizeof"):
            self.emit_lea("05", self.size_of())
            result = Operand(INT)
        elif self.accept("("):
            if self.at_type():
                kind = self.stars(self.base_type())
                self.expect(")")
                self.load(self.unary())
                if kind.depth == 0 and kind not in {INT, CHAR}:
                    self.error("cast to this type")
                if kind == CHAR:
                    self.emit("0fbec0")
                result = Operand(INT if kind == CHAR else kind)
            else:
                result = self.expression()
                self.expect(")")
                result = self.postfix(result)
        else:
            result = self.postfix(self.primary())
        self.depth -= 1
        return result

    def prefix(self, op: str, operand: Operand) -> Operand:
        if op in {"++", "--"}:
            return self.step(operand, op, postfix=False)
        if op == "&":
            if not operand.lvalue:
                self.error("expected a variable")
            return Operand(self.pointer_to(operand.type))
        kind = self.load(operand)
        if op == "*":
            return self.target(kind)
        if op == "!":
            self.emit("85c00f94c00fb6c0")
            return Operand(INT)
        if kind.depth:
            self.error("this operator does not take pointers")
        self.emit("f7d8" if op == "-" else "f7d0")
        return Operand(INT)

    def target(self, kind: Type) -> Operand:
        if kind.depth == 0:
            self.error("expected a pointer")
        if kind == VOID.pointer():
            self.error("a void pointer points to no value")
        return Operand(kind.target(), lvalue=True)

    def postfix(self, operand: Operand) -> Operand:
        while True:
            if self.is_op("++", "--"):
                operand = self.step(operand, self.next().text, postfix=True)
            elif self.is_op("["):
                kind = self.load(operand)
                result = self.target(kind)
                self.next()
                start = self.push()
                if self.value().depth:
                    self.error("expected an integer")
                self.expect("]")
                self.pop_left(start)
                self.scale(self.size(kind.target()), "c0", "c9")
                self.emit("01c8")
                operand = result
            elif self.is_op("->"):
                kind = self.load(operand)
                self.next()
                tag, offset, member = self.members.get(self.name(), ("", 0, INT))
                if kind != Type("struct " + tag, 1):
                    self.error("the pointer's type has no such member")
                self.emit_lea("80", offset)
                operand = Operand(member, lvalue=True)
            else:
                return operand

    def primary(self) -> Operand:
        token = self.token
        if token.kind == "number":
            self.next()
            self.emit_lea("05", token.value)
            return Operand(INT)
        if token.kind == "string":
            self.emit_lea("05", self.string())
            return Operand(CHAR.pointer())
        if token.kind != "name":
            self.error("expected an expression")
        self.next()
        symbol = self.find(token.text, token)
        if symbol.kind == "function":
            return self.call(symbol)
        if self.is_op("("):
            self.error("this is not a function")
        self.emit_lea("85" if symbol.local else "05", symbol.value)
        if symbol.kind == "array":
            return Operand(self.pointer_to(symbol.type))
        return Operand(symbol.type, lvalue=symbol.kind == "variable")

    def string(self) -> int:
        """Put adjacent string literals into the code, behind a jump; their address."""
        text = ""
        while self.token.kind == "string":
            text += self.next().text
        end = self.jump("e9")
        address = self.address()
        self.code += text.encode("latin-1") + b"\0"
        self.land(end)
        return address

    def call(self, symbol: Symbol) -> Operand:
        self.expect("(")
        count = 0
        while not self.is_op(")"):
            if count:
                self.expect(",")
            self.value()
            self.emit("50")
            count += 1
        if count != symbol.parameters:
            self.error(f"expected {symbol.parameters} arguments")
        self.next()
        if symbol is self.scopes[0]["syscall"]:
            self.emit("5a595b58cd80")
        else:
            symbol.calls.append(self.jump("e8"))
            if count:
                self.emit("81c4", 4 * count)
        return Operand(INT if symbol.type == CHAR else symbol.type)

    # Statements

    def block(self) -> None:
        """Statements up to the closing brace; the opening one is read."""
        while not self.accept("}"):
            self.item()

    def item(self) -> None:
        if self.at_type():
            base = self.base_type()
            self.local(base)
            while self.accept(","):
                self.local(base)
            self.expect(";")
        else:
            self.statement()

    def local(self, base: Type) -> None:
        symbol = Symbol("variable", self.variable_type(base))
        self.slots += 1
        symbol.value, symbol.local = -4 * self.slots, True
        self.declare(self.name(), symbol)
        if self.accept("="):
            self.value()
            self.store(symbol.type, b"\x85" + struct.pack("<i", symbol.value))

    def declare(self, name: str, symbol: Symbol) -> None:
        if name in self.scopes[-1]:
            self.error(f"{name} is defined twice")
        self.scopes[-1][name] = symbol

    def statement(self) -> None:
        self.deeper()
        if self.accept("{"):
            self.scopes.append({})
            self.block()
            self.scopes.pop()
        elif self.accept("if"):
            self.if_statement()
        elif self.is_op("while", "do", "for", "switch"):
            outer = self.breaks, self.continues
            self.breaks = []
            if self.next().text == "switch":
                self.switch()
            else:
                self.continues = []
                self.at -= 1
                {"while": self.while_loop, "do": self.do_loop, "for": self.for_loop}[self.next().text]()
            self.land(*self.breaks)
            self.breaks, self.continues = outer
        elif self.is_op("break", "continue"):
            fields = self.breaks if self.next().text == "break" else self.continues
            if fields is None:
                self.error("not in a loop")
            fields.append(self.jump("e9"))
            self.expect(";")
        elif self.accept("return"):
            self.return_statement()
        elif not self.accept(";"):
            self.expression()
            self.expect(";")
        self.depth -= 1

    def condition(self) -> int:
        """A parenthesised condition and the jump for when it is false."""
        self.expect("(")
        self.value()
        self.expect(")")
        return self.jump("85c00f84")

    def if_statement(self) -> None:
        otherwise = self.condition()
        self.statement()
        if self.accept("else"):
            end = self.jump("e9")
            self.land(otherwise)
            self.statement()
            self.land(end)
        else:
            self.land(otherwise)

    def while_loop(self) -> None:
        assert self.breaks is not None
        assert self.continues is not None
        self.land()
        start = len(self.code)
        self.breaks.append(self.condition())
        self.statement()
        for field in self.continues:
            self.fill(field, start)
        self.jump_to("e9", start)

    def do_loop(self) -> None:
        assert self.continues is not None
        self.land()
        start = len(self.code)
        self.statement()
        self.expect("while")
        self.land(*self.continues)
        self.expect("(")
        self.value()
        self.expect(")")
        self.expect(";")
        self.jump_to("85c00f85", start)

    def for_loop(self) -> None:
        assert self.breaks is not None
        assert self.continues is not None
        self.expect("(")
        self.expressions(";")
        self.land()
        start = len(self.code)
        if not self.is_op(";"):
            self.value()
            self.breaks.append(self.jump("85c00f84"))
        self.expect(";")
        body = self.jump("e9")
        step = len(self.code)
        self.expressions(")")
        self.jump_to("e9", start)
        self.land(body)
        self.statement()
        for field in self.continues:
            self.fill(field, step)
        self.jump_to("e9", step)

    def expressions(self, end: str) -> None:
        """Expressions of a for head with commas between them, up to `end`."""
        if not self.is_op(end):
            self.expression()
            while self.accept(","):
                self.expression()
        self.expect(end)

    def switch(self) -> None:
        assert self.breaks is not None
        self.expect("(")
        self.value()
        self.expect(")")
        dispatch = self.jump("e9")
        cases: dict[int, int] = {}
        default: int | None = None
        self.expect("{")
        self.scopes.append({})
        while not self.accept("}"):
            if self.accept("case"):
                value = self.constant()
                if value in cases:
                    self.error("this case occurs twice")
                cases[value] = len(self.code)
                self.expect(":")
            elif self.accept("default"):
                if default is not None:
                    self.error("this case occurs twice")
                default = len(self.code)
                self.expect(":")
            else:
                self.item()
        self.scopes.pop()
        self.breaks.append(self.jump("e9"))
        self.land(dispatch)
        for value, target in cases.items():
            self.emit("3d", value)
            self.jump_to("0f84", target)
        if default is not None:
            self.jump_to("e9", default)

    def return_statement(self) -> None:
        if self.function.type == VOID:
            if not self.is_op(";"):
                self.error("a void function returns no value")
        else:
            self.value()
            if self.function.type == CHAR:
                self.emit("0fbec0")
        self.expect(";")
        self.emit("c9c3")

    # Declarations

    def program(self) -> None:
        while self.at + 1 < len(self.tokens):
            if self.token.kind == "end":
                self.next()
            elif self.accept("enum"):
                self.enum()
            else:
                self.declaration()
        main = self.scopes[0].get("main")
        if main is None or main.kind != "function" or main.parameters != 2:
            self.error("no function main with two parameters")
        self.emit("8b04248d4c24045051")
        main.calls.append(self.jump("e8"))
        self.emit("89c3b801000000cd80")
        for name, symbol in self.scopes[0].items():
            if symbol.calls and not symbol.defined:
                self.error(f"{name} is not defined")
            for field in symbol.calls:
                self.fill(field, symbol.value)

    def enum(self) -> None:
        self.expect("{")
        value = 0
        while True:
            name = self.name()
            if self.accept("="):
                value = self.constant()
            self.declare(name, Symbol("constant", INT, value))
            value = signed(value + 1)
            if not self.accept(",") or self.is_op("}"):
                break
        self.expect("}")
        self.expect(";")

    def declaration(self) -> None:
        base = self.base_type()
        if base.base.startswith("struct ") and self.is_op("{", ";"):
            if self.is_op("{"):
                self.struct(base.base[7:])
            self.expect(";")
            return
        while True:
            kind = self.stars(base)
            name = self.name()
            if self.accept("("):
                if self.signature(name, kind):
                    return
            else:
                self.variable(name, kind)
            if not self.accept(","):
                break
        self.expect(";")

    def struct(self, tag: str) -> None:
        if self.structs[tag] is not None:
            self.error(f"{tag} is defined twice")
        self.next()
        size = 0
        while not self.accept("}"):
            base = self.base_type()
            while True:
                kind = self.variable_type(base)
                name = self.name()
                if name in self.members:
                    self.error(f"{name} is defined twice")
                self.members[name] = (tag, size, kind)
                size += 4
                if not self.accept(","):
                    break
            self.expect(";")
        self.structs[tag] = size

    def variable(self, name: str, kind: Type) -> None:
        if kind.depth == 0 and kind not in {INT, CHAR}:
            self.error("a variable cannot have this type")
        symbol = Symbol("variable", kind, self.bss)
        self.declare(name, symbol)
        size = 1
        if self.accept("["):
            symbol.kind = "array"
            size = 0 if self.is_op("]") else self.constant()
            if size < 0 or (size == 0 and not self.is_op("]")) or size > 0x10000000:
                self.error("bad array size")
            self.expect("]")
            size = self.elements(symbol, size)
        elif self.accept("="):
            self.initialise(kind, symbol.value)
        self.bss += (self.size(kind) * size + 3) & -4
        if self.bss >= 0x40000000:
            self.error("too much memory")

    def elements(self, symbol: Symbol, size: int) -> int:
        """An array's initialiser, if any; the number of elements."""
        if not self.accept("="):
            if size == 0:
                self.error("bad array size")
            return size
        if symbol.type == CHAR and self.token.kind == "string":
            text = ""
            while self.token.kind == "string":
                text += self.next().text
            for index, character in enumerate(text):
                self.put(CHAR, symbol.value + index, ord(character))
            count = len(text) + 1
        else:
            self.expect("{")
            count = 0
            while True:
                self.initialise(symbol.type, symbol.value + count * self.size(symbol.type))
                count += 1
                if not self.accept(",") or self.is_op("}"):
                    break
            self.expect("}")
        if size and count > size:
            self.error("too many values")
        return size or count

    def initialise(self, kind: Type, address: int) -> None:
        if kind == CHAR.pointer() and self.token.kind == "string":
            self.put(kind, address, self.string())
        else:
            self.put(kind, address, self.constant())

    def put(self, kind: Type, address: int, value: int) -> None:
        """Code that stores a value before main is called."""
        if kind == CHAR:
            self.emit("c605", address)
            self.emit(f"{value & 255:02x}")
        else:
            self.emit("c705", address, value)

    def signature(self, name: str, kind: Type) -> bool:
        """A function after its opening parenthesis; whether its body followed."""
        parameters = self.parameter_list()
        symbol = self.scopes[0].get(name)
        if symbol is None:
            symbol = Symbol("function", kind)
            symbol.parameters = len(parameters)
            self.declare(name, symbol)
        elif symbol.kind != "function" or (symbol.type, symbol.parameters) != (kind, len(parameters)):
            self.error(f"{name} is declared differently before")
        if kind.depth == 0 and kind.base.startswith("struct "):
            self.error("a function cannot have this type")
        if not self.is_op("{"):
            return False
        if symbol.defined:
            self.error(f"{name} is defined twice")
        symbol.defined = True
        self.body(symbol, parameters)
        return True

    def parameter_list(self) -> list[tuple[str, Type]]:
        parameters: list[tuple[str, Type]] = []
        if self.accept(")"):
            return parameters
        while True:
            base = self.base_type()
            if base == VOID and not parameters and self.accept(")"):
                return parameters
            kind = self.variable_type(base)
            parameters.append((self.next().text if self.token.kind == "name" else "", kind))
            if len(parameters) > MAX_PARAMETERS:
                self.error("too many parameters")
            if self.accept(")"):
                return parameters
            self.expect(",")

    def body(self, symbol: Symbol, parameters: list[tuple[str, Type]]) -> None:
        self.scopes.append({})
        for index, (name, kind) in enumerate(parameters):
            if not name:
                self.error("a parameter has no name")
            local = Symbol("variable", kind, 4 + 4 * (len(parameters) - index))
            local.local = True
            self.declare(name, local)
        self.next()
        end = self.jump("e9")
        symbol.value = len(self.code)
        self.function, self.slots = symbol, 0
        self.emit("5589e581ec", 0)
        frame = len(self.code) - 4
        self.block()
        self.emit("c9c3")
        struct.pack_into("<I", self.code, frame, 4 * self.slots)
        self.land(end)
        self.scopes.pop()

    def image(self) -> bytes:
        self.program()
        size = HEADER + len(self.code)
        if size > BSS - BASE:
            self.error("the program is too large")
        header = b"\x7fELF\x01\x01\x01" + bytes(9)
        header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE + HEADER, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        header += struct.pack("<8I", 1, 0, BASE, BASE, size, self.bss - BASE, 7, 0x1000)
        return header + bytes(self.code)


def compile_sources(sources: list[tuple[str, bytes]]) -> bytes:
    """The executable of a program, given as pairs of file name and text."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20000))
    return Compiler([token for name, text in sources for token in tokens(name, text)]).image()


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        sys.stderr.write("usage: c0 OUTPUT A.c B.c …\n")
        return 1
    output = Path(arguments[0])
    try:
        image = compile_sources([(name, Path(name).read_bytes()) for name in arguments[1:]])
        output.write_bytes(image)
        output.chmod(0o755)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    except C0Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
