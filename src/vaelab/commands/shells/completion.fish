# fish completion of vaelab
function __vaelab
    set -l words
    set -l values
    switch $argv[1]
COMMANDS
    end
    set -l current (commandline -ct)
    if not string match -q '*=*' -- $current
        printf '%s\n' $words
        return
    end
    set -l key (string replace -r '=.*' '=' -- $current)
    if string match -qr '^(PATHS)$' -- $key
        set -l last (string replace -r '^[^=]*=' '' -- $current)
        printf "$key%s\n" (__fish_complete_path $last | string replace -r '\t.*' '')
        return
    end
    # the last of a list: [a,b or a,b
    set -l head (string replace -r '[^=\[,]*$' '' -- $current)
    string replace -rf -- '^'(string escape --style=regex -- $key) $head $values
end
for name in NAMES
    complete -c $name -f -a "(__vaelab $name)"
end
