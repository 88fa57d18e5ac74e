# The bootstrap of images/genesis from the seed to its C compiler, as derivations whose builders are their own products:
# no shell, no environment. The seed is a file, because Nix cannot make a binary of its listing:
# sed 's/#.*//' images/genesis/00-seed/seed.hex | xxd -r -p > seed; chmod +x seed; --argstr seed "$PWD/seed".
{ seed, genesis ? ../genesis, system ? "i686-linux" }:
let
  file = path: builtins.path { path = genesis + "/${path}"; name = baseNameOf path; };
  cc-sources = builtins.path { path = genesis + "/05-cc"; name = "cc-sources"; };
  numbered = builtins.filter (name: builtins.match "[0-9].*" name != null)
    (builtins.attrNames (builtins.readDir (genesis + "/05-cc")));
  build = name: builder: args: derivation { inherit name system builder args; };
  out = builtins.placeholder "out";

  # The seed reads a listing, writes the program, and executes it: the assembler makes the first compiler.
  mc = derivation {
    name = "mc";
    inherit system;
    outputs = [ "out" "asm" ];
    builder = builtins.path { path = seed; name = "seed"; };
    args = [ (file "02-asm/asm.hex") (builtins.placeholder "asm") (file "03-mc/mc.asm") out ];
  };
  c0-first = build "c0-first" mc [ (file "04-c0/c0.c") out ];
  c0 = build "c0" c0-first [ out (file "04-c0/c0.c") ];
  cc-0 = build "cc-0" c0 ([ out ] ++ map (name: "${cc-sources}/${name}") numbered);
  cc-1 = build "cc-1" cc-0 [ "-o" out "${cc-sources}/whole.c" ];
in
build "cc" cc-1 [ "-o" out "${cc-sources}/whole.c" ]
