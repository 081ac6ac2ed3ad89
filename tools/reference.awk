# The declarations of headers as Markdown: what is said before each, then its code without bodies and private parts.
# Names in `left_out` are not told.

function count(text, what,   n) { n = gsub(what, "&", text); return n }

# A line of a class or a function without what it does.
function bare(line) {
  sub(/ \{[^{}]*(\{[^{}]*\}[^{}]*)*\}$/, ";", line)         # f() { return x; }
  sub(/\)( noexcept)? : [A-Za-z_]+[({].*;$/, ");", line)                   # X(int n) : n_(n);
  return line
}

function flush_entry() {
  if (names != "") printf "\n### %s\n%s\n```cpp\n%s```\n", names, (text == "" ? "" : "\n" text "\n"), code
  names = ""; text = ""; code = ""
}

# Lines first … last of a class, without private members, friends, deleted functions and bodies.
function class_code(   k, made, depth, hidden, line) {
  made = lines[1] "\n"; depth = 0; hidden = 0
  for (k = 2; k <= n; ++k) {
    line = lines[k]
    if (depth > 0) { depth += count(line, "[{]") - count(line, "[}]"); continue }
    if (line ~ /^ (private|protected):$/) { hidden = (line ~ /private/); if (!hidden) made = made line "\n"; continue }
    if (line ~ /^ public:$/) { hidden = 0; continue }
    if (line == "};") { made = made line "\n"; continue }
    if (hidden || line ~ /= delete;$/ || line ~ /^  friend / || line ~ /virtual ~|^  ~/ || line ~ /^$/) {
      if (line ~ /\{$/) depth = 1
      continue
    }
    if (line ~ /\{$/ && line ~ /\(/) { depth = 1; sub(/ \{$/, ";", line); sub(/\) : .*;$/, ");", line) }
    if (line ~ /^ +: [A-Za-z_]+\(/) { if (line ~ /\{$/) depth = 1; sub(/\n$/, ";\n", made); continue }
    made = made bare(line) "\n"
  }
  return made
}

function all_lines(   k, made) {
  for (k = 1; k <= n; ++k) made = made lines[k] "\n"
  return made
}

function options_alone(   k) {
  for (k = 1; k <= options; ++k) { flush_entry(); names = option_name[k]; text = option_text[k]; code = option_code[k] }
  flush_entry()
  options = 0
}

function hold(name, made) {
  option_name[++options] = name; option_text[options] = doc; option_code[options] = made; doc = ""
}

function finish(   name, made, first, k, taken) {
  first = lines[1]
  if (first ~ /^template/ && n > 1) first = first " " lines[2]
  if (first ~ /^(class|struct) [A-Za-z]+;$/ || first ~ /^(class|struct) [A-Za-z]*Body/ || first ~ /^inline .*operator/) { doc = ""; return }
  if (first ~ /struct [A-Za-z0-9]*Options \{$/ || first ~ /^using [A-Za-z0-9]*Options/) {
    name = first; sub(/^(template.*> )?(struct|using) /, "", name); sub(/ .*/, "", name)
    hold(name, all_lines())
    return
  }
  if (first ~ /^struct [A-Za-z0-9]+ : LayerHandle \{$/) {
    name = first; sub(/^struct /, "", name); sub(/ .*/, "", name)
    for (k = 2; k < n; ++k) { sub(/^  (explicit )?/, "", lines[k]); made = made lines[k] "\n" }
  } else if (first ~ /^(template.* )?(class|struct) /) {
    name = first; sub(/^(template.*> )?(class|struct) /, "", name); sub(/ .*/, "", name)
    made = class_code()
  } else if (first ~ /^using /) {
    name = first; sub(/^using /, "", name); sub(/ .*/, "", name); made = all_lines()
  } else if (first ~ /^(inline )?constexpr [^(]*=|^enum /) {
    name = first; sub(/ [={].*/, "", name); sub(/ : .*/, "", name); sub(/.* /, "", name); made = all_lines()
  } else {
    name = ""
    for (k = 1; k <= n; ++k) if (lines[k] !~ /^template /) name = name " " lines[k]
    sub(/requires\(.*\) auto/, "auto", name)
    gsub(/requires [a-z:_]+<[^>]*>|decltype\(auto\)/, "", name)
    if (!match(name, /[ &*][a-z_0-9]+\(/)) { doc = ""; return }
    name = substr(name, RSTART + 1, RLENGTH - 2)
    if (lines[1] ~ /^template/ || lines[n] ~ /^}/ || lines[1] ~ /\{.*\}$/) {
      for (k = 1; k <= n; ++k) {
        if (lines[k] ~ /\{$/) { sub(/ \{$/, ";", lines[k]); made = made lines[k] "\n"; break }
        made = made bare(lines[k]) "\n"
      }
    } else made = all_lines()
  }
  name = prefix name
  if (index(" " left_out " ", " " name " ") > 0) { doc = ""; return }
  # A type that says nothing of its own belongs to what comes next and has it.
  if (doc == "" && first ~ /^(class|struct|enum class) / && first !~ / : LayerHandle /) { hold(name, made); return }
  # Options belong to what takes them, and what says nothing of its own to what stands before it.
  taken = 0
  for (k = 1; k <= options; ++k) if (made ~ option_name[k] "[& ]") taken = 1
  if (options > 0 && !taken) options_alone()
  if (name == names && options == 0) { code = code (doc == "" ? "" : "/// " doc "\n") made; doc = ""; return }
  if (doc != "" || options > 0 || names == "") {
    flush_entry(); text = doc
    for (k = 1; k <= options; ++k) code = code (option_text[k] == "" ? "" : "/// " option_text[k] "\n") option_code[k]
    options = 0
  }
  if (index(", " names ", ", ", " name ", ") == 0) names = names (names == "" ? "" : ", ") name
  code = code made
  doc = ""
}

FNR == 1 { inside = 0; options_alone() }
/^namespace twopass \{$/ { inside = 1; prefix = ""; next }
/^namespace (twopass::)?(data|threads|attribute) \{$/ { inside = 1; prefix = $2 "::"; sub(/twopass::/, "", prefix); next }
/^namespace / { inside = 0; next }
/^\}  \/\/ namespace/ { inside = 1; prefix = ""; next }
!inside || /^#/ { next }
n == 0 && /^\/\/\/ / { doc = doc (doc == "" ? "" : " ") substr($0, 5); next }
n == 0 && (/^$/ || /^\/\//) { next }
{
  lines[++n] = $0
  depth_now += count($0, "[{]") - count($0, "[}]")
  if (depth_now == 0 && ($0 ~ /;$/ || $0 ~ /\}$/)) { finish(); n = 0 }
}
END { options_alone() }
