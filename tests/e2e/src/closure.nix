# A dozen small derivations with references among them: every kind of node that a NAR can hold.
{ salt }:
let
  make = name: deps: script: derivation {
    inherit name salt deps;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-ec" script ];
  };
  file = make "file" [ ] "echo one file > $out";
  empty = make "empty-file" [ ] ": > $out";
  program = make "program" [ ] "printf '#!/bin/sh\\necho run\\n' > $out; chmod +x $out";
  folder = make "folder" [ ] "mkdir -p $out/a/b $out/empty; echo x > $out/a/b/c; ln -s a/b/c $out/link";
  itself = make "names-itself" [ ] "mkdir $out; echo $out/lib > $out/path";
  odd = make "odd-names" [ ] "mkdir $out; echo u > \"$out/ünïcode\"; echo s > \"$out/with space\"; echo d > $out/.dot";
  link = make "only-a-link" [ file ] "ln -s ${file} $out";
  random = make "random-8-mb" [ ] "mkdir $out; head -c 8000000 /dev/urandom > $out/blob";
  many = make "many-files" [ ] "mkdir $out; i=0; while [ $i -lt 600 ]; do echo $i > $out/$i; i=$((i + 1)); done";
  library = make "library" [ file folder ] "mkdir $out; echo ${file} ${folder} > $out/deps";
  wrapper = make "wrapper" [ library program ] "mkdir -p $out/bin; echo exec ${program} ${library} > $out/bin/run; chmod +x $out/bin/run";
in
make "everything" [ empty itself odd link random many wrapper ]
  "mkdir $out; echo ${empty} ${itself} ${odd} ${link} ${random} ${many} ${wrapper} $out > $out/all"
