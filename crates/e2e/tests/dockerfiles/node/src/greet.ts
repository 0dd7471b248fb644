export interface Greeting {
    to: string;
    text: string;
}

export function greet(to: string): Greeting {
    return { to, text: `Hello, ${to}!` };
}
