//! Names of people, from many languages: with accents, apostrophes, hyphens and
//! spaces, since a roster that holds only plain letters tests nothing.

use super::prng::Prng;

/// How many in a thousand get each of the rarer shapes.
const NICKNAME_PER_MILLE: u32 = 12;
const MIDDLE_PER_MILLE: u32 = 40;
const DOUBLE_LAST_PER_MILLE: u32 = 30;
const SUFFIX_PER_MILLE: u32 = 12;

/// First names.
#[rustfmt::skip]
const FIRST: &[&str] = &[
    "Aaliyah", "Aarav", "Abdullah", "Abigail", "Adam", "Adèle", "Aditi", "Adriana", "Agnieszka",
    "Ahmed", "Aiko", "Aisha", "Ålva", "Alejandro", "Aleksandra", "Alexander", "Alice", "Amara",
    "Amélie", "Amina", "Amit", "Ana", "Anaïs", "Anders", "André", "Andrea", "Andrew", "Ángel",
    "Anh", "Anika", "Anna", "Anne-Marie", "Anthony", "Antonio", "Anya", "Aoife", "Ashley",
    "Astrid", "Aurélie", "Ava", "Axel", "Ayşe", "Barbara", "Beatriz", "Benjamin", "Bích",
    "Björn", "Brandon", "Brian", "Brigitte", "Caitlín", "Camila", "Carlos", "Carmen", "Catherine",
    "Cécile", "Charles", "Charlotte", "Chiara", "Chidi", "Chinonso", "Chloé", "Christopher",
    "Ciarán", "Claire", "Clara", "D'Andre", "Daniel", "Danielle", "David", "Deborah", "Diego",
    "Dmitri", "Đorđe", "Dorothy", "Dũng", "Edward", "Eilidh", "Eleni", "Elif", "Elijah",
    "Elizabeth", "Emeka", "Emily", "Emma", "Emmanuel", "Enrique", "Eoin", "Erik", "Ethan",
    "Étienne", "Eva", "Fatima", "Felipe", "Femi", "Fernando", "Finn", "Florian", "Francesca",
    "François", "Freya", "Frida", "Gabriel", "Gabriela", "Genevieve", "George", "Gérard",
    "Giovanni", "Giulia", "Grace", "Grzegorz", "Guillermo", "Gülşen", "Gwendolyn", "Håkon",
    "Hana", "Hannah", "Haruka", "Heather", "Hélène", "Henrik", "Hiroshi", "Hồng", "Hüseyin",
    "Ian", "Ibrahim", "Ifeoma", "Ikram", "Ilse", "Imani", "Inés", "Ingrid", "Isabella", "Ivan",
    "Jacob", "Jacqueline", "Jakub", "Jamal", "James", "Jan", "Jasmine", "Jean-Luc", "Jennifer",
    "Jesús", "Jing", "João", "Johann", "John", "Jonathan", "Jordan", "Jörg", "José", "Joseph",
    "Joshua", "Juan", "Júlia", "Julien", "Jürgen", "Kamala", "Karen", "Katarzyna", "Kateřina",
    "Kayla", "Keiko", "Kenji", "Kevin", "Khadija", "Kimberly", "Kofi", "Kwame", "Lakshmi",
    "Lars", "Latoya", "Laura", "Lauren", "Léa", "Leila", "Léon", "Liam", "Linda", "Linh",
    "Lisa", "Logan", "Loïc", "Lourdes", "Lucas", "Lucía", "Ludmila", "Luis", "Łukasz", "Maëlle",
    "Mai", "Małgorzata", "Manuel", "María", "María José", "Mariana", "Mark", "Márta", "Mary Ann",
    "Mateo", "Matthew", "Máximo", "Megan", "Mehmet", "Mei", "Michael", "Michelle", "Miguel",
    "Mikhail", "Min-jun", "Miyuki", "Mohammed", "Mónica", "Nadia", "Naïma", "Naomi", "Natalia",
    "Nathan", "Ngọc", "Nia", "Nicholas", "Nicolás", "Niamh", "Noah", "Noémie", "Nuria",
    "Obinna", "Olga", "Olivia", "Omar", "Oscar", "Øystein", "Paige", "Pamela", "Paolo",
    "Patricia", "Patrick", "Paweł", "Pedro", "Peter", "Phương", "Pierre", "Piotr", "Priya",
    "Quang", "Rachel", "Rafael", "Raj", "Ramón", "Raúl", "Rebecca", "Renée", "Ricardo",
    "Richard", "Robert", "Roberto", "Rosa", "Rubén", "Ryan", "Sabrina", "Saïd", "Samantha",
    "Samuel", "Sandra", "Sanjay", "Sara", "Sławomir", "Scott", "Sean", "Sébastien", "Seo-yeon",
    "Sergio", "Shanice", "Siobhán", "Sofía", "Søren", "Stacey", "Stéphane", "Steven", "Susan",
    "Svetlana", "Tadhg", "Takashi", "Tariq", "Tatiana", "Terrence", "Thảo", "Theodore",
    "Thomas", "Tiffany", "Timothy", "Tomáš", "Tomás", "Trang", "Tyler", "Uwe", "Valentina",
    "Vanessa", "Verónica", "Victor", "Vikram", "Vincent", "Wanjiru", "Wei", "William", "Wojciech",
    "Xavier", "Ximena", "Xiomara", "Yael", "Yan", "Yolanda", "Youssef", "Yuki", "Yusuf", "Yvonne",
    "Zachary", "Zainab", "Žaneta", "Zoë", "Zofia", "Zsófia", "李", "愛", "Анна", "Γιώργος",
];

/// Last names.
#[rustfmt::skip]
const LAST: &[&str] = &[
    "Abdi", "Abubakar", "Adams", "Adeyemi", "Aguilar", "Ahmed", "Åkesson", "Ali", "Allen",
    "Alvarez", "Álvarez", "Andersen", "Anderson", "Andersson", "Arslan", "Bailey", "Baker",
    "Barnes", "Bauer", "Becker", "Bell", "Bennett", "Bergström", "Bhatt", "Bianchi", "Björk",
    "Boateng", "Brooks", "Brown", "Bùi", "Butler", "Campbell", "Carter", "Castillo", "Çelik",
    "Černý", "Chan", "Chaudhry", "Chávez", "Chen", "Choi", "Clark", "Coleman", "Collins", "Cook",
    "Cooper", "Cox", "Cruz", "D'Amico", "D'Angelo", "D'Souza", "Da Silva", "Dąbrowski", "Davis",
    "De la Cruz", "De Vries", "Del Río", "Demir", "Desai", "Díaz", "Diallo", "Đặng", "Dimitrov",
    "Dlamini", "Dubois", "Dupré", "Dvořák", "Edwards", "El-Masri", "Eriksson", "Espinoza",
    "Evans", "Faure", "Fernández", "Ferrari", "Fischer", "Fitzgerald", "Flores", "Foster",
    "Fournier", "Freeman", "Friedrich", "Fujimoto", "Gallagher", "Gan", "García", "García-López",
    "Garza", "Gómez", "González", "Gonçalves", "Gray", "Green", "Grünwald", "Guerrero", "Gupta",
    "Gutiérrez", "Guzmán", "Hall", "Halvorsen", "Hansen", "Harris", "Hassan", "Hayashi",
    "Hernández", "Herrera", "Hill", "Hoffmann", "Horváth", "Howard", "Huang", "Hughes", "Hussain",
    "Ibrahim", "Ivanov", "Jackson", "Jäger", "James", "Janković", "Jansen", "Jenkins", "Jiménez",
    "Johansson", "Johnson", "Jones", "Joseph", "Kaplan", "Kaur", "Kelly", "Khalil", "Khan", "Kim",
    "King", "Kovács", "Kowalska", "Kowalski", "Krüger", "Kumar", "Kuznetsova", "L'Heureux",
    "Lambert", "Larsson", "Le Goff", "Lê", "Lee", "Lefèvre", "Lehmann", "Lemaître", "Lewis", "Li",
    "Lindqvist", "Liu", "Long", "López", "Lundgren", "Łuczak", "M'Baye", "MacDonald", "Mäkinen",
    "Martin", "Martínez", "Mbeki", "McCarthy", "McDonald", "McKenzie", "Medina", "Mehta",
    "Méndez", "Mendoza", "Mensah", "Meyer", "Miller", "Mitchell", "Molnár", "Morales", "Moreau",
    "Moreno", "Morgan", "Morris", "Müller", "Muñoz", "Murphy", "Murray", "Mutua", "Mwangi",
    "Myers", "N'Diaye", "Nakamura", "Navarro", "Nelson", "Németh", "Nguyễn", "Nielsen", "Nkosi",
    "Novák", "Novotná", "Nowak", "Núñez", "Nyström", "O'Brien", "O'Connor", "O'Neill",
    "O'Sullivan", "Ó Murchú", "Okafor", "Okonkwo", "Oliveira", "Olsen", "Ortiz", "Osei",
    "Ozturk", "Öztürk", "Papadopoulos", "Park", "Parker", "Patel", "Paździoch", "Peña", "Pérez",
    "Perry", "Petersen", "Peterson", "Petrov", "Pham", "Phạm", "Phan", "Phillips", "Popescu",
    "Powell", "Price", "Quispe", "Rahman", "Ramírez", "Ramos", "Rao", "Reed", "Reyes", "Ricci",
    "Richardson", "Ríos", "Rivera", "Roberts", "Robinson", "Rodríguez", "Rogers", "Rojas",
    "Romero", "Rossi", "Roşca", "Ruiz", "Russell", "Ryan", "Saint-Pierre", "Salazar", "Sánchez",
    "Sanders", "Sandoval", "Santos", "Sato", "Schäfer", "Schmidt", "Schröder", "Scott", "Shah",
    "Sharma", "Silva", "Simmons", "Singh", "Škoda", "Smith", "Smith-Jones", "Smythe-O'Dell",
    "Sokolov", "Sørensen", "Soto", "Souza", "St. James", "Stewart", "Suárez", "Sullivan",
    "Suzuki", "Szabó", "Szymański", "Takahashi", "Tanaka", "Tan", "Taylor", "Thiago", "Thomas",
    "Thompson", "Torres", "Tóth", "Tran", "Trần", "Turner", "Uçar", "Ueda", "Vaccaro",
    "Van den Berg", "Van Dyke", "Vargas", "Vásquez", "Vasseur", "Vega", "Virtanen", "Võ",
    "Wagner", "Walker", "Wallace", "Walsh", "Wang", "Ward", "Washington", "Watanabe", "Watson",
    "Weiß", "White", "Williams", "Wilson", "Wiśniewska", "Wójcik", "Wong", "Wood", "Wright", "Wu",
    "Yamamoto", "Yang", "Yáñez", "Yıldız", "Young", "Zając", "Zhang", "Ziegler", "Zimmermann",
    "Žižek", "王", "山田", "Иванова",
];

/// First names that come with a nickname, in the quotes people put around it.
const NICKNAMED: &[&str] = &[
    "William \"Bill\"",
    "Robert \"Bob\"",
    "Elizabeth \"Beth\"",
    "José \"Pepe\"",
    "Francisco \"Paco\"",
    "Katherine \"Kit\"",
    "Giuseppe \"Beppe\"",
    "Theodore \"Teddy\"",
];

/// What follows a last name after a comma.
const SUFFIXES: &[&str] = &[", Jr.", ", Sr.", ", III", ", M.D.", ", PhD"];

/// Appends a first name.
pub fn write_first(prng: &mut Prng, out: &mut String) {
    if prng.per_mille(NICKNAME_PER_MILLE) {
        out.push_str(prng.pick(NICKNAMED));
        return;
    }
    out.push_str(prng.pick(FIRST));
    if prng.per_mille(MIDDLE_PER_MILLE) {
        out.push(' ');
        out.push(char::from(prng.pick(b"ABCDEFGHJKLMNPRSTVW")));
        out.push('.');
    }
}

/// Appends a last name.
pub fn write_last(prng: &mut Prng, out: &mut String) {
    out.push_str(prng.pick(LAST));
    if prng.per_mille(DOUBLE_LAST_PER_MILLE) {
        out.push('-');
        out.push_str(prng.pick(LAST));
    }
    if prng.per_mille(SUFFIX_PER_MILLE) {
        out.push_str(prng.pick(SUFFIXES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the registry asks of a name: 1 to 100 characters, none a control
    /// character, no blanks at its ends.
    #[test]
    fn every_name_would_be_accepted() {
        for name in [FIRST, LAST, NICKNAMED, SUFFIXES].concat() {
            assert!((1..=30).contains(&name.chars().count()), "{name}");
            assert_eq!(name.trim(), name);
            assert!(!name.chars().any(char::is_control), "{name}");
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        for table in [FIRST, LAST] {
            let mut names = table.to_vec();
            names.sort_unstable();
            for pair in names.windows(2) {
                assert_ne!(pair[0], pair[1]);
            }
        }
    }
}
