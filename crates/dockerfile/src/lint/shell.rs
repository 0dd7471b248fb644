//! The commands of a shell text, taken apart as far as the rules need it: words between blanks, commands between
//! operators. It is no shell: what stands in quotes is one word, substitutions are not looked into.

/// The commands of a text.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    let mut quote = None;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (Some(_), inside) => word.get_or_insert_default().push(inside),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => while characters.next_if(|next| *next != '\n').is_some() {},
            (None, ';' | '|' | '&' | '\n' | '(' | ')' | '{' | '}')
                if !(word.is_some() && "{}".contains(character)) =>
            {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            (None, blank) if blank.is_whitespace() => end_word(&mut commands, &mut word),
            (None, other) => word.get_or_insert_default().push(other),
        }
    }
    end_word(&mut commands, &mut word);
    commands.retain_mut(|command| {
        // Words of the language, and variables set for one command.
        let leading = command.iter().take_while(|word| is_prefix(word)).count();
        command.drain(..leading);
        !command.is_empty()
    });
    commands
}

fn end_word(commands: &mut [Vec<String>], word: &mut Option<String>) {
    if let (Some(command), Some(word)) = (commands.last_mut(), word.take()) {
        command.push(word);
    }
}

fn is_prefix(word: &str) -> bool {
    let assigned = word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    assigned
        || matches!(
            word,
            "if" | "then" | "else" | "elif" | "while" | "until" | "do" | "!" | "time" | "exec" | "env"
        )
}

/// Whether a text has a pipe outside quotes.
pub(super) fn has_pipe(text: &str) -> bool {
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some('"') | None, '\\') => {
                characters.next();
            }
            (None, '\'' | '"') => quote = Some(character),
            (None, '|') if characters.next_if_eq(&'|').is_none() => return true,
            _ => {}
        }
    }
    false
}
